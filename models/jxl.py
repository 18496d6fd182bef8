"""Reads the header of a JPEG XL picture without decoding it (ISO/IEC 18181)."""

import struct
from collections.abc import Callable
from dataclasses import dataclass

CODESTREAM = b"\xff\x0a"
CONTAINER = b"\0\0\0\x0cJXL \r\n\x87\n"
MAGIC = (CODESTREAM, CONTAINER)

RATIOS = {1: (1, 1), 2: (12, 10), 3: (4, 3), 4: (3, 2), 5: (16, 9), 6: (5, 4), 7: (2, 1)}


@dataclass(frozen=True)
class Header:
    """The header of a picture.

    Attributes
    ----------
    width, height
        In pixels.
    animated
        Whether it has several frames that are shown one after the other.
    bits
        Of a value: 8 or another number up to 32.
    """

    width: int
    height: int
    animated: bool = False
    bits: int = 8


def read_header(content: bytes) -> Header:
    """Read the header of a file.

    Raises
    ------
    ValueError
        If the file has no pixels.
    """
    stream = content if content.startswith(CODESTREAM) else _codestream(content)
    if not stream.startswith(CODESTREAM):
        raise ValueError("There is no JPEG XL in this file.")
    bits = int.from_bytes(stream[2:66], "little")

    def take(count: int) -> int:
        nonlocal bits
        value = bits & ((1 << count) - 1)
        bits >>= count
        return value

    width, height = _size(take)
    if take(1):  # everything else has its default value
        return Header(width, height)
    animated = False
    if take(1):  # the rarely used fields
        take(3)  # orientation
        if take(1):  # the intrinsic size, at which it is shown
            _size(take)
        if take(1):
            _skip_preview(take)
        if take(1):
            animated = True
            _skip_animation(take)
    usual = (32, 16, 24) if take(1) else (8, 10, 12)  # floats, or whole numbers
    choice = take(2)
    bits = usual[choice] if choice < 3 else 1 + take(6)
    return Header(width, height, animated, bits)


def _size(take: Callable[[int], int]) -> tuple[int, int]:
    """Width and height."""
    small = take(1)

    def length() -> int:
        return 8 * (1 + take(5)) if small else 1 + take((9, 13, 18, 30)[take(2)])

    height = length()
    ratio = take(3)
    if not ratio:
        return length(), height
    wide, high = RATIOS[ratio]
    return height * wide // high, height


def _skip_preview(take: Callable[[int], int]) -> None:
    """Skip the size of the preview picture."""
    by_eight = take(1)

    def length() -> None:
        take((0, 0, 5, 9)[take(2)] if by_eight else (6, 8, 10, 12)[take(2)])

    length()
    if not take(3):
        length()


def _skip_animation(take: Callable[[int], int]) -> None:
    """Pass over how fast and how often the frames are shown."""
    for sizes in ((0, 0, 10, 30), (0, 0, 8, 10), (0, 3, 16, 32)):
        take(sizes[take(2)])
    take(1)


def _codestream(content: bytes) -> bytes:
    """The beginning of the codestream in the container (ISO/IEC 18181-2)."""
    place = 0
    while place + 8 <= len(content):
        length, kind = struct.unpack_from(">I4s", content, place)
        start = place + 8
        if length == 1 and start + 8 <= len(content):
            (length,) = struct.unpack_from(">Q", content, start)
            start += 8
        if kind in (b"jxlc", b"jxlp"):
            return content[start + 4 * (kind == b"jxlp") :][:100]
        if length < 8:
            break
        place += length
    return b""
