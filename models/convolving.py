"""Pillow's bilinear scaling with antialiasing, in an eighth of its time.

Both convolve with the same triangle, and only round differently: a value differs from Pillow's by 1
of 255 at most.
"""

from PIL import Image

try:
    from cykooz_resizer import CropBox, FilterType, ResizeAlg, ResizeOptions, Resizer
except ImportError:  # there is no package for this machine
    Resizer = None


def bilinear(
    image: Image.Image, height: int, width: int, box: tuple[float, float, float, float]
) -> Image.Image:
    """Scale a part of a picture.

    Parameters
    ----------
    image
        In the mode "RGB".
    height, width
        The new size in pixels.
    box
        `(left, top, right, bottom)` of the part in pixels of the picture.

    Examples
    --------
    >>> ramp = Image.linear_gradient("L").convert("RGB")
    >>> bilinear(ramp, 2, 2, (0, 0, 256, 256)).getpixel((0, 1))
    (179, 179, 179)
    """
    if Resizer is None:
        return image.resize((width, height), Image.Resampling.BILINEAR, box)
    left, top, right, bottom = box
    options = ResizeOptions(
        ResizeAlg.convolution(FilterType.bilinear),
        crop_box=CropBox(left, top, right - left, bottom - top),
    )
    scaled = Image.new("RGB", (width, height))
    Resizer().resize_pil(image, scaled, options)
    return scaled
