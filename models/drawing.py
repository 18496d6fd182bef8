"""Results as pictures: classes in colour, masks over photos, previews.

Colours are `(red, green, blue)` tuples of 0 to 255.
"""

import io
import math
import zlib
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any

import cv2
import font_manrope
import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from models.images import Photo
from models.regions import Region, numbered
from models.resampling import bilinear
from models.scaling import reduced_size, scaled

Color = tuple[int, int, int]

# The width of lines in pixels is the picture's longer side divided by this, so that lines stay
# visible when the whole picture is shown small.
LINES_PER_SIDE = 800
NAMES_PER_SIDE = 36  # the same for the size of letters
CARD_WIDTH, CARD_HEIGHT = 1200, 630  # the format in which websites show links
CARD_EDGE, CARD_PHOTO, CARD_LINES = 36, 760, 3
# Font sizes; of a name at least, at most, and at most where it is the only one.
CARD_NAME, CARD_DETAIL, CARD_FOOTER = (30, 72, 108), 30, 24

GREYS = [value for value in range(256) for _ in range(3)]  # a palette


def indexed_picture(values: NDArray[np.uint8], colors: Mapping[int, Color]) -> Image.Image:
    """A picture whose pixels are the values, shown in the given colours.

    In a PNG file, viewers show the colours and programs read the values.

    Parameters
    ----------
    values
        `(height, width)` uint8.
    colors
        Colour of each value; others are black.
    """
    image = Image.fromarray(np.ascontiguousarray(values)).convert("L")
    image.putpalette(_palette(colors))
    return image


def overlay(
    photo: Photo, mask: NDArray[np.uint8], colors: Mapping[int, Color], opacity: float
) -> Photo:
    """The photo with the mask's classes laid over it.

    Parameters
    ----------
    photo
        `(height, width, 3)` uint8.
    mask
        `(height, width)` uint8 class values.
    colors
        Colour of each class value; classes without one leave the photo unchanged.
    opacity
        From 0, only the photo, to 1, only the colours.
    """
    tint = indexed_picture(mask, colors).convert("RGB")
    shown = np.zeros(256, np.uint8)
    shown[list(colors)] = round(255 * opacity)
    return np.asarray(Image.composite(tint, Image.fromarray(photo), Image.fromarray(shown[mask])))


def instance_outlines(instances: NDArray[np.integer]) -> NDArray[np.bool_]:
    """The outermost pixels of each object: `(height, width)` bool.

    Parameters
    ----------
    instances
        `(height, width)`: 0 for the background, a label for each object. Where the picture cuts an
        object off, it has no outline.
    """
    width = max(round(max(instances.shape) / LINES_PER_SIDE), 1)
    outlines = np.zeros(instances.shape, np.bool_)
    for numbers, lines in ((instances, outlines), (instances.T, outlines.T)):
        different = numbers[width:] != numbers[:-width]
        lines[width:] |= different
        lines[:-width] |= different
    return outlines & (instances > 0)


def paint(photo: Photo, where: NDArray[np.bool_], color: Color) -> Photo:
    """The photo with the pixels of a `(height, width)` bool array in a colour."""
    painted = photo.copy()
    painted[where] = color
    return painted


def annotate(
    photo: Photo,
    regions: Sequence[Region],
    names: Sequence[str],
    colors: Sequence[Color],
    side: int,
) -> Image.Image:
    """The photo with an outline, a box and a name for each object, reduced to at most `side`.

    Parameters
    ----------
    photo
        `(height, width, 3)` uint8, or a reduced copy of it.
    regions
        The objects, of the photo or of a reduced copy.
    names, colors
        The text at each box, and the colour of its lines.
    side
        Longer side of the picture in pixels; a smaller photo keeps its size.
    """
    rows, columns = reduced_size(photo.shape[0], photo.shape[1], side)
    painted = bilinear(photo, rows, columns).copy()
    numbers = numbered(regions, rows, columns)
    outlines = instance_outlines(numbers)
    for number, color in enumerate(colors, start=1):
        # Indices take a quarter of a mask's time.
        painted.reshape(-1, 3)[np.flatnonzero(outlines & (numbers == number))] = color
    image = Image.fromarray(painted)
    canvas = ImageDraw.Draw(image)
    width = max(round(max(rows, columns) / LINES_PER_SIDE * 2), 1)
    font = _font(max(max(rows, columns) / NAMES_PER_SIDE, 10))
    taken = numbers > 0
    for region, name, color in zip(regions, names, colors, strict=True):
        scale = columns / region.shape[1]
        box = left, top, right, bottom = [round(edge * scale) for edge in region.box]
        canvas.rectangle((left, top, right - 1, bottom - 1), outline=color, width=width)
        *_, text_width, text_height = canvas.textbbox((0, 0), name, font=font)
        room = text_height / 3
        size = math.ceil(text_height + 2 * room), math.ceil(text_width + 2 * room)
        y, x = _place_name(box, size, taken)
        taken[y : y + size[0], x : x + size[1]] = True
        canvas.rectangle((x, y, x + text_width + 2 * room, y + text_height + 2 * room), fill=color)
        canvas.text((x + room, y + room), name, font=font, fill=_readable_on(color))
    return image


def _place_name(
    box: Sequence[int], size: tuple[int, int], taken: NDArray[np.bool_]
) -> tuple[int, int]:
    """Row and column at which a name covers least of the objects and of the names before it.

    That is above the box if nothing is there; never beyond the photo's edges.

    Parameters
    ----------
    box
        Left, top, right and bottom edge of the object.
    size
        Height and width of the name.
    taken
        `(height, width)`: what should not be covered.
    """
    left, top, right, bottom = box
    height, width = size
    lowest, rightmost = (max(all_ - own, 0) for all_, own in zip(taken.shape, size, strict=True))
    rows = [min(max(row, 0), lowest) for row in (top - height, bottom, top)]
    columns = [min(max(column, 0), rightmost) for column in (left, right - width)]
    places = [(row, column) for row in rows for column in columns]
    return min(
        places, key=lambda at: int(taken[at[0] : at[0] + height, at[1] : at[1] + width].sum())
    )


def share_card(
    photo: Photo, lines: Sequence[tuple[str, str]], colors: Sequence[Color], footer: Sequence[str]
) -> Image.Image:
    """A large photo beside names in large letters: 1,200 x 630 pixels, the format of link previews.

    Parameters
    ----------
    photo
        `(height, width, 3)` uint8; it is shown whole, and a narrow one leaves more room beside it.
    lines, colors
        The names, each with a detail in smaller letters below it, and the colour of the bar before
        each; only the first three fit.
    footer
        Small lines at the lower edge.
    """
    card = Image.new("RGB", (CARD_WIDTH, CARD_HEIGHT), (255, 255, 255))
    canvas = ImageDraw.Draw(card)
    image = Image.fromarray(photo)
    scale = min(CARD_PHOTO / image.width, CARD_HEIGHT / image.height)
    height, width = scaled(image.height, image.width, scale)
    shown = image.resize((width, height), Image.Resampling.BICUBIC, reducing_gap=2.0)
    card.paste(shown, (0, (CARD_HEIGHT - height) // 2))

    left = width + CARD_EDGE
    room = CARD_WIDTH - CARD_EDGE - left - CARD_EDGE // 2
    alone = len(lines) == 1
    step = (CARD_HEIGHT - 3 * CARD_EDGE - CARD_FOOTER * len(footer)) // (1 if alone else CARD_LINES)
    for number, ((name, detail), color) in enumerate(zip(lines[:CARD_LINES], colors, strict=False)):
        top = CARD_EDGE + number * step
        font, rows = _fitted(name, room, step - 2 * CARD_DETAIL, CARD_NAME[2 if alone else 1])
        block = "\n".join(rows)
        start = left + CARD_EDGE // 2
        canvas.multiline_text((start, top), block, (20, 20, 20), font, spacing=4)
        bottom = canvas.multiline_textbbox((start, top), block, font, spacing=4)[3]
        canvas.text((start, bottom + 10), detail, (90, 90, 90), _font(CARD_DETAIL))
        canvas.rectangle((left, top, left + 7, bottom + 10 + CARD_DETAIL), fill=color)
    for number, line in enumerate(reversed(footer)):
        place = CARD_WIDTH - CARD_EDGE, CARD_HEIGHT - CARD_EDGE - number * (CARD_FOOTER + 6)
        canvas.text(place, line, (90, 90, 90), _font(CARD_FOOTER), "rs")
    return card


def _fitted(
    name: str, width: int, height: int, largest: int
) -> tuple[ImageFont.FreeTypeFont, list[str]]:
    """The largest letters in which a name fits into a box, and its rows."""
    least = CARD_NAME[0]
    for size in range(largest, least - 1, -2):
        font, rows = _font(size), [""]
        for word in name.split():
            longer = f"{rows[-1]} {word}".strip()
            if rows[-1] and font.getlength(longer) > width:
                rows.append(word)
            else:
                rows[-1] = longer
        fits = all(font.getlength(row) <= width for row in rows)
        if (fits and len(rows) * (size + 4) <= height) or size == least:
            break
    return font, rows


def heat(photo: Photo, evidence: NDArray[np.floating], color: Color, opacity: float) -> Photo:
    """The photo in grey, coloured according to the evidence.

    Parameters
    ----------
    photo
        `(height, width, 3)` uint8.
    evidence
        `(height, width)` in [0, 1].
    color, opacity
        The colour, and its opacity at the strongest place.
    """
    grey = Image.fromarray(photo).convert("L").convert("RGB")
    strength = Image.fromarray(np.round(evidence * (255 * opacity)).astype(np.uint8))
    return np.asarray(Image.composite(Image.new("RGB", grey.size, color), grey, strength))


def ramp(values: NDArray[np.uint8], colors: Sequence[Color]) -> bytes:
    """Values from 0 to 255 as even steps from the first colour to the last, as PNG.

    Programs can read the values from it, as from `indexed_picture`.

    Parameters
    ----------
    values
        `(height, width)` uint8.
    colors
        Two or more, at equal distances.
    """
    places = np.linspace(0, 255, len(colors))
    channels = [np.interp(np.arange(256), places, channel) for channel in np.transpose(colors)]
    steps = np.round(channels).astype(int).T.tolist()
    return _png(indexed_picture(values, dict(enumerate(map(tuple, steps)))))


def reduced(photo: Photo, side: int) -> Photo:
    """The photo reduced to at most `side` pixels; a smaller photo keeps its size."""
    height, width = reduced_size(photo.shape[0], photo.shape[1], side)
    return bilinear(photo, height, width)


def fewer_pixels(gray: NDArray[Any], side: int) -> NDArray[Any]:
    """The `(height, width)` values of any type reduced to at most `side` pixels.

    Pixels are left out, not mixed: each remaining one keeps its value.
    """
    rows, columns = reduced_size(gray.shape[0], gray.shape[1], side)
    if gray.dtype == np.uint8:
        small = Image.fromarray(gray).resize((columns, rows), Image.Resampling.NEAREST)
        return np.asarray(small)
    down, along = (
        ((np.arange(few) + 0.5) * many / few).astype(int)
        for few, many in zip((rows, columns), gray.shape, strict=True)
    )
    return gray[np.ix_(down, along)]


def binary_preview(gray: NDArray[Any], cut: float, side: int) -> bytes:
    """The pixels above a cut in white and the others in black, as a small PNG.

    The picture is thresholded at its own size and then reduced to at most `side` pixels, each the
    mean of the pixels that it covers.
    """
    above = (gray > cut).astype(np.uint8) * 255
    rows, columns = reduced_size(gray.shape[0], gray.shape[1], side)
    if above.shape != (rows, columns):
        above = cv2.resize(above, (columns, rows), interpolation=cv2.INTER_AREA).astype(np.uint8)
    # As a palette picture of all greys, compressed by runs: this takes a third of the time of a
    # grey picture, for which the best of five filters is tried for each line, and half of the
    # bytes.
    image = Image.frombytes("P", (columns, rows), above.tobytes())
    image.putpalette(GREYS)
    return _png(image, compress_type=zlib.Z_RLE)


def gray_preview(gray: NDArray[np.uint8], side: int) -> bytes:
    """The `(height, width)` grey values reduced to at most `side` pixels, as PNG.

    As in `fewer_pixels`, each pixel keeps its value, and so its class.
    """
    # Runs: photos have few longer repetitions, and looking for them takes a third of the time.
    return _png(Image.fromarray(fewer_pixels(gray, side)), compress_type=zlib.Z_RLE)


def opacity_preview(opacity: NDArray[np.uint8]) -> bytes:
    """Black with the `(height, width)` uint8 opacity, as PNG: for a browser to draw through."""
    return _png(Image.merge("LA", (Image.new("L", opacity.shape[::-1]), Image.fromarray(opacity))))


def thumbnail(photo: Photo, side: int) -> bytes:
    """The photo reduced to at most `side` pixels, as JPEG."""
    image = Image.fromarray(reduced(photo, side))
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=85)
    return buffer.getvalue()


@lru_cache(maxsize=16)
def _font(size: float) -> ImageFont.FreeTypeFont:
    """Manrope, as Pillow's own font has only the letters of English."""
    return ImageFont.truetype(font_manrope.ManropeSemiBold, size)


def _readable_on(color: Color) -> Color:
    """Black or white, whichever is easier to read on a colour (its luminance as in WCAG 2.2)."""
    linear = [
        value / 12.92 if value <= 0.04045 else ((value + 0.055) / 1.055) ** 2.4
        for value in (channel / 255 for channel in color)
    ]
    luminance = float(np.dot(linear, (0.2126, 0.7152, 0.0722)))
    return (0, 0, 0) if (luminance + 0.05) / 0.05 > 1.05 / (luminance + 0.05) else (255, 255, 255)


def _png(image: Image.Image, compress_type: int = zlib.Z_DEFAULT_STRATEGY) -> bytes:
    buffer = io.BytesIO()
    image.save(
        buffer, "PNG", compress_level=1, compress_type=compress_type
    )  # a third of the usual time, a fifth more bytes
    return buffer.getvalue()


def _palette(colors: Mapping[int, Color]) -> Sequence[int]:
    palette = np.zeros((256, 3), np.uint8)
    for value, color in colors.items():
        palette[value] = color
    return palette.ravel().tolist()
