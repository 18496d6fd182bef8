"""JPEG files without an end marker, as some cameras and programs write them."""

import io
import zlib

from PIL import Image

END, START_OF_SCAN = b"\xff\xd9", b"\xff\xda"
# Bytes that a decoder takes for pixels if any are missing, and skips after the last one.
FILLER = b"\x55" * 64


def has_end(content: bytes) -> bool:
    """Whether there is an end marker; other data may follow it."""
    return END in content[-100:] or content.rfind(END) > content.rfind(START_OF_SCAN)


def with_end(content: bytes) -> bytes:
    """The file with an end marker, if only that is missing; otherwise the same file.

    libjpeg decodes any file with an end marker, and fills the rest with grey. So the file is
    decoded twice: if bytes inserted before the marker change the picture, pixels are missing.
    """
    content = content.rstrip(b"\xff")  # half of the marker
    ended, filled = (_checksum(content + more + END) for more in (b"", FILLER))
    return content + END if ended is not None and ended == filled else content


def _checksum(content: bytes) -> int | None:
    """A checksum of the pixels; None if they cannot be decoded."""
    try:
        with Image.open(io.BytesIO(content), formats=["JPEG"]) as image:
            return zlib.crc32(image.tobytes())
    except MemoryError:
        raise
    except Exception:  # other errors are reported when the file is read
        return None
