"""Files that programs send as data URLs, RFC 2397."""

import secrets
from base64 import b64decode
from pathlib import Path
from typing import Any
from urllib.parse import unquote, unquote_to_bytes


def as_files(data: list[Any], folder: Path) -> list[Any]:
    """The values of an event, with data URLs replaced by files.

    Parameters
    ----------
    data
        The values.
    folder
        Where the files are written, each in a folder of its own with an unpredictable name.
    """
    return [_file_of(value, folder) or value for value in data]


def _file_of(value: object, folder: Path) -> dict[str, Any] | None:
    """The uploaded file made from a data URL, whether bare or as the address in file data."""
    url = value
    if isinstance(value, dict):
        url = value.get("path") or value.get("url")
    if not isinstance(url, str) or url[:5].lower() != "data:":
        return None
    head, _, text = url.partition(",")
    try:
        base64 = head.lower().endswith(";base64")
        content = b64decode(unquote(text)) if base64 else unquote_to_bytes(text)
    except ValueError:
        return None
    own = folder / secrets.token_hex(16)
    own.mkdir(parents=True)
    (own / "photo").write_bytes(content)
    return {"path": str(own / "photo"), "meta": {"_type": "gradio.FileData"}}
