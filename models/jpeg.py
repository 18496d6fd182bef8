"""JPEG files that lack their end marker, as some cameras and programs leave them."""

import io
import zlib

from PIL import Image

END, START_OF_SCAN = b"\xff\xd9", b"\xff\xda"
# What a decoder takes for pixels where any are missing, and skips behind the last one.
FILLER = b"\x55" * 64


def has_end(content: bytes) -> bool:
    """Whether the end marker is there; other data may follow it."""
    return END in content[-100:] or content.rfind(END) > content.rfind(START_OF_SCAN)


def with_end(content: bytes) -> bytes:
    """The file with its end marker, if that is all it lacks; else the same file.

    libjpeg makes a whole picture of any file with an end marker, and fills up with grey. So it is
    asked twice: where bytes before the marker change the picture, there are pixels missing.
    """
    content = content.rstrip(b"\xff")  # half of the marker
    ended, filled = (_checksum(content + more + END) for more in (b"", FILLER))
    return content + END if ended is not None and ended == filled else content


def _checksum(content: bytes) -> int | None:
    """A number that tells the pixels from others; None where they cannot be decoded."""
    try:
        with Image.open(io.BytesIO(content), formats=["JPEG"]) as image:
            return zlib.crc32(image.tobytes())
    except MemoryError:
        raise
    except Exception:  # what else is wrong is said when it is read
        return None
