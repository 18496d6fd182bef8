"""Checks an upload's form as it arrives: how many files, how large, and nothing but files."""

from collections import Counter
from dataclasses import dataclass

from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser, parse_options_header

BLOCK = 4096  # least bytes that a file takes on the disk, and its folder too
OPEN_EACH = 400  # files in one client's unfinished uploads


class BadForm(Exception):  # noqa: N818 -- the client's, not ours
    """A refused form: a key of `messages`, and values for its placeholders."""

    def __init__(self, status: int, key: str, **values: str | int) -> None:
        super().__init__(key)
        self.status, self.key, self.values = status, key, values


@dataclass
class OpenFiles:
    """The files of all unfinished uploads: Gradio holds a descriptor for each.

    Attributes
    ----------
    limit
        Most files of all clients together.
    """

    limit: int

    def __post_init__(self) -> None:
        self._open: Counter[str] = Counter()

    def take(self, client: str) -> bool:
        """Count a file; return whether one more may be opened."""
        if self._open[client] >= OPEN_EACH or self._open.total() >= self.limit:
            return False
        self._open[client] += 1
        return True

    def give_back(self, client: str, files: int) -> None:
        """An upload has ended."""
        self._open[client] -= files
        if self._open[client] <= 0:
            del self._open[client]


class UploadForm:
    """Checks what Gradio's own parser gets, which limits neither parts nor memory.

    Attributes
    ----------
    files
        How many have begun.
    disk
        Bytes that they and their folders take on the disk so far.
    """

    def __init__(
        self, content_type: bytes, photo_bytes: int, most: int, open_files: OpenFiles, client: str
    ) -> None:
        """Prepare for a form of at most `most` files of `photo_bytes`.

        Raises
        ------
        BadForm
            If it is not one.
        """
        self.files, self.disk = 0, 0
        self._photo_bytes, self._most = photo_bytes, most
        self._open_files, self._client = open_files, client
        self._name, self._value = b"", b""
        self._headers: dict[bytes, bytes] = {}
        self._size = 0
        # Both headers are parsed as Gradio does it: what is not a file there must not be one here.
        kind, options = parse_options_header(content_type)
        if kind != b"multipart/form-data" or b"boundary" not in options:
            raise BadForm(400, "form")
        try:
            self._parser = MultipartParser(
                options[b"boundary"],
                {
                    "on_part_begin": self._begin,
                    "on_part_data": self._data,
                    "on_header_field": self._header_name,
                    "on_header_value": self._header_value,
                    "on_header_end": self._header_end,
                    "on_headers_finished": self._headers_end,
                },
            )
        except (FormParserError, ValueError):
            raise BadForm(400, "form") from None

    def read(self, part: bytes) -> None:
        """Check the next bytes.

        Raises
        ------
        BadForm
            If it exceeds the limits, or is not a form.
        """
        try:
            self._parser.write(part)
        except FormParserError:
            raise BadForm(400, "form") from None

    def close(self) -> None:
        """The upload has ended."""
        if self.files:
            self._open_files.give_back(self._client, self.files)

    def _begin(self) -> None:
        self._headers, self._size = {}, 0

    def _header_name(self, data: bytes, start: int, end: int) -> None:
        self._name += data[start:end]

    def _header_value(self, data: bytes, start: int, end: int) -> None:
        self._value += data[start:end]

    def _header_end(self) -> None:
        self._headers[self._name.lower()] = self._value
        self._name, self._value = b"", b""

    def _headers_end(self) -> None:
        _, options = parse_options_header(self._headers.get(b"content-disposition", b""))
        if b"filename" not in options:
            raise BadForm(400, "form")  # Gradio would collect it in memory
        if self.files >= self._most:
            raise BadForm(413, "files", limit=self._most)
        if not self._open_files.take(self._client):
            raise BadForm(503, "open")
        self.files += 1
        self.disk += BLOCK  # its folder

    def _data(self, data: bytes, start: int, end: int) -> None:
        before = self._size
        self._size += end - start
        if self._size > self._photo_bytes:
            raise BadForm(413, "file_size", size=f"{self._photo_bytes / 1e6:.3g} MB")
        self.disk += (-(-self._size // BLOCK) - -(-before // BLOCK)) * BLOCK
