"""The table of an album, as a spreadsheet in the visitor's language opens it."""

import csv
import io
import zipfile
from pathlib import Path

import pytest

from models.album import Entry
from models.images import PhotoError
from ui import album, texts


@pytest.mark.parametrize(
    ("language", "separator", "sentence"),
    [("en", ",", "damaged or cut off"), ("de", ";", "beschädigt")],
)
def test_the_table_is_packed_in_the_visitor_s_language(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    language: texts.Language,
    separator: str,
    sentence: str,
) -> None:
    monkeypatch.setattr(texts, "language", lambda: language)
    monkeypatch.setattr(album, "language", lambda: language)
    entries = [Entry("Kätzchen.jpg", error=PhotoError("photo_damaged"))]

    album.finish(album.Album(tmp_path, entries))

    with zipfile.ZipFile(tmp_path / "album.zip") as archive:
        content = archive.read("pets.csv")
    assert content.startswith("\ufefffile".encode())
    table = io.StringIO(content.decode("utf-8-sig"))
    (line,) = csv.DictReader(table, delimiter=separator)
    assert line["file"] == "Kätzchen.jpg"
    assert sentence in line["error"]
