"""The orientation of a picture in its file, by EXIF or TIFF: tag 274, from 1 to 8."""

from PIL import Image, ImageOps

from models.picture import Values

TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}


def upright_image(image: Image.Image) -> Image.Image:
    """Rotate the picture according to its EXIF orientation."""
    if image.format == "TIFF":
        # libtiff has rotated some already; Pillow knows which.
        return ImageOps.exif_transpose(image)
    turn = TURNS.get(exif_orientation(image))
    return image if turn is None else image.transpose(turn)


def exif_orientation(image: Image.Image) -> int:
    """The orientation in EXIF data, interpreted as by browsers; 1 if it is damaged.

    Pillow's own function also follows XMP, which browsers do not.
    """
    try:
        exif = Image.Exif()
        exif.load(image.info["exif"])
        return int(exif.get(0x0112, 1))
    except MemoryError:
        raise
    except Exception:  # there is none, or the parser fails on damaged data
        return 1


def upright_values(values: Values, orientation: object) -> Values:
    """Flip and transpose according to an orientation."""
    if orientation in (5, 6, 7, 8):
        values = values.swapaxes(0, 1)
    if orientation in (3, 4, 7, 8):
        # In the order of the stored rows if rows and columns are not swapped, otherwise of the new
        # ones.
        values = values[::-1]
    if orientation in (2, 3, 6, 7):
        values = values[:, ::-1]
    return values
