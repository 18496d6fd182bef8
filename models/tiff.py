"""Reads TIFF files of instruments and cameras with tifffile: the values of one picture.

A TIFF can contain almost anything. Known kinds are read as by tifffile, and everything else is
refused with its name; nothing is guessed.
"""

import io
import logging
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from functools import partial
from itertools import product
from typing import Literal

import imagecodecs
import numpy as np
import tifffile

from models import tiff_metadata
from models.orientation import upright_values
from models.picture import AXES, Axis, AxisName, PhotoError, Place, Values
from models.stored import Stored

Page = tifffile.TiffPage | tifffile.TiffFrame

MAGIC = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")  # of TIFF and BigTIFF, in both byte orders

# Formats that store several pictures in an order of their own, as tifffile names them.
STRUCTURED = (
    *("shaped", "lsm", "mmstack", "ome", "imagej", "fluoview", "stk", "sis"),
    *("svs", "scn", "qpi", "ndpi", "bif", "philips"),
)
MANY_PAGES = 500  # with more, reduced copies of others are not searched for
LONGEST_LOOK = 64  # pictures tried in the search for the first one with content
AXIS_OF: dict[str, AxisName] = {"T": "time", "Z": "z", "C": "channel"}

# Compressions and the functions of imagecodecs that tifffile calls for them.
CODECS = {
    1: (),
    2: ("ccittrle_decode",),
    3: ("ccittfax3_decode",),
    4: ("ccittfax4_decode",),
    5: ("lzw_decode",),
    7: ("jpeg_decode", "jpeg8_decode"),
    8: ("zlib_decode", "deflate_decode"),
    32773: ("packbits_decode",),
    32946: (),
    33003: ("jpeg2k_decode",),
    33005: (),
    34712: (),
    34887: ("lerc_decode",),
    34925: ("lzma_decode",),
    34926: ("zstd_decode",),
    50000: (),
    34927: ("webp_decode",),
    50001: (),
    50002: ("jpegxl_decode",),
    52546: (),
}
OTHERS = (
    *("delta_decode", "floatpred_decode", "packints_decode", "bitorder_decode"),
    *("float24_decode", "png_decode"),
)

WHITE_IS_ZERO, BLACK_IS_ZERO, RGB, PALETTE, CMYK, YCBCR, CIELAB, ICCLAB = 0, 1, 2, 3, 5, 6, 8, 9
MOSAIC, LINEAR_RAW = 32803, 34892
DNG_VERSION, CFA_PATTERN = 50706, 33422

tifffile.logger().setLevel(logging.CRITICAL)  # its messages about odd files are of no use here


class OtherReaderError(Exception):
    """Colours that Pillow can convert to RGB and this module cannot."""


def preload() -> None:
    """Load what reading needs, because a locked-down process cannot open files any more."""
    import xml.etree.ElementTree  # noqa: F401

    for names in (*CODECS.values(), OTHERS):
        for name in names:
            getattr(imagecodecs, name)


def read(content: bytes, place: Place, check_size: Callable[[int, int], None]) -> Stored:
    """Read one of the pictures in a TIFF.

    Parameters
    ----------
    content
        The file.
    place
        Which picture.
    check_size
        Raises PhotoError for a width and height that are too large.

    Raises
    ------
    PhotoError
        If it is of an unsupported kind, or has no such picture.
    OtherReaderError
        If Pillow should read it.
    Exception
        Of almost any type, if the file is damaged.
    """
    # "_multifile": an OME-TIFF can name other files, which must not be opened.
    with tifffile.TiffFile(io.BytesIO(content), _multifile=False) as file:
        first = file.pages.first
        if _is_raw(file, first):
            raise PhotoError("photo_raw")
        stacks = _stacks(file)
        stored = _find(stacks, place, check_size)
        return replace(stored, pixel_size=tiff_metadata.pixel_size(file, first))


def _is_raw(file: tifffile.TiffFile, first: tifffile.TiffPage) -> bool:
    """Whether it is a camera's raw file, whose first picture is a thumbnail or a sensor mosaic."""
    if first.photometric in (MOSAIC, LINEAR_RAW):
        return True
    tags = first.tags
    return bool(first.is_reduced or DNG_VERSION in tags or CFA_PATTERN in tags)


@dataclass(frozen=True)
class _Stack:
    """Pictures of one kind and size, on axes of time, z and channel.

    Attributes
    ----------
    keyframe
        One of them, which has all the tags.
    sizes
        Number along each axis; channels inside one page count too.
    page_at
        The page for a time, z and channel; None if it is missing. An array if the pictures are
        stored contiguously without pages.
    """

    keyframe: tifffile.TiffPage
    sizes: dict[AxisName, int]
    page_at: Callable[[dict[AxisName, int]], Page | Values | None]
    names: tuple[str, ...] = ()
    stated: tuple[tuple[float, float], ...] = ()
    is_imagej: bool = False
    samples: int = field(init=False, default=1)  # of one page that are channels

    def __post_init__(self) -> None:
        if _kind(self.keyframe) == "channels":
            object.__setattr__(self, "samples", self.keyframe.samplesperpixel)


def _stacks(file: tifffile.TiffFile) -> list[_Stack]:
    """The pictures of a file: those of its series, or else each page alone."""
    # tifffile does not expect a page without pixels, and would count pages with it.
    if min(file.pages.first.shape, default=1) < 1:
        raise ValueError("A page has no pixels.")
    if any(getattr(file, f"is_{kind}", False) for kind in STRUCTURED):
        found = [stack for series in file.series for stack in _of_series(file, series)]
        if found:
            return found
    count = len(file.pages)
    if count <= MANY_PAGES:
        kept = [page for i in range(count) if not (page := _page(file, i)).is_reduced]
        return [_alone(file, page) for page in kept]
    return [_alone(file, file.pages.first, partial(_page, file, i)) for i in range(count)]


def _page(file: tifffile.TiffFile, index: int) -> tifffile.TiffPage:
    page = file.pages[index]
    return page if isinstance(page, tifffile.TiffPage) else page.aspage()


def _alone(
    file: tifffile.TiffFile,
    page: tifffile.TiffPage,
    get: Callable[[], tifffile.TiffPage] | None = None,
) -> _Stack:
    return _Stack(
        page, {}, lambda _: get() if get else page, stated=tiff_metadata.stated(file, page)
    )


def _of_series(file: tifffile.TiffFile, series: tifffile.TiffPageSeries) -> Iterator[_Stack]:
    """A series in tifffile's sense: one stack for each index along axes of other kinds."""
    key = series.keyframe
    axes, shape = series.get_axes(squeeze=False), series.get_shape(squeeze=False)
    if axes.endswith("S") and "S" not in key.axes and shape[-1] == 1:
        axes, shape = axes[:-1], shape[:-1]
    if not axes.endswith(key.axes) or shape[-len(key.axes) :] != key.shape:
        return  # the file's own description contradicts its pages
    axes, shape = axes[: -len(key.axes)], shape[: -len(key.axes)]
    sizes = {AXIS_OF[axis]: n for axis, n in zip(axes, shape, strict=True) if axis in AXIS_OF}
    rest = [range(1) if axis in AXIS_OF else range(n) for axis, n in zip(axes, shape, strict=True)]

    def page_at(fixed: tuple[int, ...], wanted: dict[AxisName, int]) -> Page | Values | None:
        index = [
            wanted[AXIS_OF[axis]] if axis in AXIS_OF else other
            for axis, other in zip(axes, fixed, strict=True)
        ]
        number = int(np.ravel_multi_index(index, shape)) if shape else 0
        if series.dataoffset is not None and len(series) < math.prod(shape):
            return _contiguous(file, series, number)
        return series[number]

    for fixed in product(*rest):
        yield _Stack(
            key,
            sizes,
            partial(page_at, fixed),
            names=tiff_metadata.channel_names(file, series),
            stated=tiff_metadata.stated(file, key, series),
            is_imagej=bool(file.is_imagej),
        )


def _contiguous(file: tifffile.TiffFile, series: tifffile.TiffPageSeries, number: int) -> Values:
    """One picture of a file with a single page, whose pixels are stored contiguously."""
    key = series.keyframe
    if key.dtype is None or series.dataoffset is None:
        raise ValueError("The file does not say where its values lie, or what they are.")
    count = math.prod(key.shape)
    stored = np.dtype(file.byteorder + key.dtype.char)
    file.filehandle.seek(series.dataoffset + number * count * stored.itemsize)
    values = np.frombuffer(file.filehandle.read(count * stored.itemsize), stored, count)
    return values.reshape(key.shape).astype(key.dtype)


def _find(stacks: list[_Stack], place: Place, check_size: Callable[[int, int], None]) -> Stored:
    """The picture at a place, or the first matching one with content, or the first."""
    if place.page is not None and place.page >= len(stacks):
        raise PhotoError("photo_no_such_place", axis="page", count=len(stacks))
    first, looked = None, 0
    for page in range(len(stacks)) if place.page is None else [place.page]:
        stack = stacks[page]
        ranges = []
        for axis in ("time", "z"):
            count, wanted = stack.sizes.get(axis, 1), getattr(place, axis)
            if wanted is not None and wanted >= count:
                raise PhotoError("photo_no_such_place", axis=axis, count=count)
            ranges.append(range(count) if wanted is None else [wanted])
        for time, z in product(*ranges):
            found, empty = _at(stack, page, len(stacks), time, z, place.channel, check_size)
            if not empty:
                return found
            first = first or found
            looked += 1
            if looked >= LONGEST_LOOK:
                return first
    if first is None:
        raise ValueError("There is no picture.")
    return first


def _at(
    stack: _Stack,
    page: int,
    pages: int,
    time: int,
    z: int,
    channel: int | None,
    check_size: Callable[[int, int], None],
) -> tuple[Stored, bool]:
    """The picture at a place with all its channels, and whether it is empty."""
    key = stack.keyframe
    check_size(key.imagewidth, key.imagelength)
    _check_kind(key)
    count = stack.sizes.get("channel", 1) * stack.samples
    if channel is not None and channel >= count:
        raise PhotoError("photo_no_such_place", axis="channel", count=count)
    several = stack.sizes.get("channel", 1)
    kind = _kind(key)
    at: dict[AxisName, int] = {"time": time, "z": z}
    if several > 1 and kind == "color":  # each channel has colours of its own
        at["channel"] = channel or 0
        stored = _decode(key, stack.page_at(at))
    elif several > 1:
        parts = [_decode(key, stack.page_at({**at, "channel": i})).values for i in range(several)]
        stacked = [part if part.ndim == 3 else part[:, :, np.newaxis] for part in parts]
        stored = replace(_decode(key, None), kind="channels", values=np.concatenate(stacked, 2))
    else:
        stored = _decode(key, stack.page_at({**at, "channel": 0}))
    index = channel or 0
    if stored.kind == "channels" and channel is None:
        filled = (i for i in range(count) if not _is_empty(stored.values[:, :, i]))
        index = next(filled, 0)
    sizes: dict[AxisName, tuple[int, int]] = {
        "page": (pages, page),
        "time": (stack.sizes.get("time", 1), time),
        "z": (stack.sizes.get("z", 1), z),
        "channel": (count, index),
    }
    axes = tuple(Axis(name, *sizes[name]) for name in AXES if sizes[name][0] > 1)
    shown = stored.values[:, :, index] if stored.kind == "channels" else stored.values
    names: tuple[str, ...] = ()
    if stored.kind == "channels":
        names = stack.names if len(stack.names) == count else ("",) * count
    stored = replace(stored, axes=axes, channels=names, stated=stack.stated)
    if stack.is_imagej and stored.colors is not None:  # a look-up table: it has numbers
        stored = replace(stored, stated=((0.0, 255.0),))
    return stored, _is_empty(shown)


def _is_empty(values: Values) -> bool:
    first = values.flat[0]
    return bool((values[:8] == first).all() and (values == first).all())


def _kind(page: tifffile.TiffPage) -> Literal["grey", "color", "cmyk", "channels"]:
    samples = page.samplesperpixel - _alphas(page)
    if page.photometric in (RGB, YCBCR) and samples >= 3:
        return "color"
    if page.photometric == CMYK:
        return "cmyk"
    return "channels" if samples > 1 else "grey"


def _alphas(page: tifffile.TiffPage) -> int:
    """Whether the last sample is alpha, according to tag 338."""
    extra = page.extrasamples
    return int(bool(extra) and page.samplesperpixel > 1 and int(extra[0]) in (1, 2))


def _check_kind(page: tifffile.TiffPage) -> None:
    """Refuse unsupported kinds by name."""
    compression = int(page.compression)
    if compression == 6:
        raise OtherReaderError  # the old JPEG of TIFF, which libtiff knows
    if compression not in CODECS:
        raise _refused("the compression", page.compression)
    photometric = page.photometric
    if photometric in (CIELAB, ICCLAB) or (photometric == YCBCR and compression != 7):
        if page.bitspersample != 8:
            raise _refused("the colours", photometric)
        raise OtherReaderError
    if photometric not in (WHITE_IS_ZERO, BLACK_IS_ZERO, RGB, PALETTE, CMYK, YCBCR):
        raise _refused("the colours", photometric)
    dtype = page.dtype
    if dtype is None or dtype.kind not in "biuf":
        raise PhotoError(
            "photo_not_read", what=f"{page.bitspersample}-bit samples of format {page.sampleformat}"
        )
    bits = page.bitspersample
    if photometric == CMYK and (bits != 8 or page.samplesperpixel - _alphas(page) != 4):
        raise PhotoError("photo_not_read", what=f"{page.samplesperpixel} inks of {bits} bits")
    if photometric == PALETTE and dtype.kind not in "bu":
        raise PhotoError("photo_not_read", what=f"a palette of {dtype} numbers")
    if page.imagedepth > 1:
        raise PhotoError("photo_not_read", what="a volume in one page")


def _refused(what: str, number: int) -> PhotoError:
    name = getattr(number, "name", None)
    return PhotoError("photo_not_read", what=f"{what} {name or int(number)}")


def _decode(key: tifffile.TiffPage, page: Page | Values | None) -> Stored:
    """The values of a page, upright; zeros if there is none."""
    if page is None:
        values = np.zeros(key.shape, key.dtype)
    elif isinstance(page, np.ndarray):
        values = page
    else:
        values = page.asarray(maxworkers=1)
        if values.shape != key.shape:
            raise ValueError("A page is not what it says.")
    if key.axes == "SYX":
        values = np.moveaxis(values, 0, 2)
    elif key.axes not in ("YX", "YXS"):
        raise PhotoError("photo_not_read", what=f"pages with the axes {key.axes}")
    if values.dtype == bool:
        values = values.view(np.uint8)
    values = values.astype(values.dtype.newbyteorder("="), copy=False)
    kind, bits = _kind(key), key.bitspersample
    if key.photometric == WHITE_IS_ZERO:
        values = _inverted(values, bits)
    values = upright_values(values, key.tags.valueof(274, 1))
    profile = key.tags.valueof(34675)
    stored = Stored(
        values,
        kind,
        bits,
        profile=profile if isinstance(profile, bytes) else None,
        camera=profile is not None or 34665 in key.tags or 271 in key.tags,
    )
    if kind in ("color", "grey", "cmyk") and values.ndim == 3:
        colors = {"color": 3, "grey": 1, "cmyk": 4}[kind]
        alpha = values[:, :, colors] if _alphas(key) else None
        main = values[:, :, 0] if kind == "grey" else values[:, :, :colors]
        multiplied = _alphas(key) and int(key.extrasamples[0]) == 1
        stored = replace(stored, values=main, alpha=alpha, multiplied=bool(multiplied))
    elif kind == "channels" and _alphas(key):
        stored = replace(stored, values=values[:, :, :-1])
    if key.photometric == PALETTE and key.colormap is not None:
        colors_of = np.moveaxis(key.colormap, 0, 1)
        # Some writers store 8 bits where the standard has 16.
        eight = colors_of if colors_of.max() < 256 else colors_of >> 8
        stored = replace(stored, colors=eight.astype(np.uint8))
    return stored


def _inverted(values: Values, bits: int) -> Values:
    """Invert values whose smallest is white, so that the largest is."""
    if values.dtype.kind == "f":
        return -values
    if values.dtype.kind == "i":
        return ~values
    return values.dtype.type(2**bits - 1) - values
