"""The rows of the results: one per photo, in one Parquet file per part."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Self

import pyarrow as pa
import pyarrow.parquet as pq

from batch import names, rle
from models import pipeline, previews, store
from models.images import open_image

ROWS_A_GROUP = 500  # these rows are in memory, with their masks

PET = pa.struct(
    {
        "box": pa.list_(pa.int32()),
        "share": pa.float64(),
        "known": pa.float64(),
        "refused": pa.bool_(),
        "breeds": pa.list_(
            pa.struct({"name": pa.string(), "species": pa.string(), "probability": pa.float64()})
        ),
        "otherwise": pa.struct(
            {"name": pa.string(), "kind": pa.string(), "probability": pa.float64()}
        ),
        "mask": pa.list_(pa.int32()),
    }
)
SCHEMA = pa.schema(
    {
        "source": pa.string(),
        "row": pa.int64(),
        "name": pa.string(),
        "error": pa.string(),
        "width": pa.int32(),
        "height": pa.int32(),
        "cuts": pa.list_(pa.float64()),
        "turn": pa.int32(),
        "pets": pa.list_(PET),
    }
)
"""`source` and `row` together are different in every row; docs/batch.md explains each column."""


LEFT_OUT = "left_out"  # in a file's metadata: the skipped files, as in `sources.Plan`


def place(source: str, row: int, name: str | None) -> dict[str, Any]:
    """The columns that identify a row's photo.

    Parameters
    ----------
    source, name
        As of `sources`; `names.restore` gives their bytes back.
    row
        The photo's index in the source.
    """
    return {
        "source": names.escape(source),
        "row": row,
        "name": None if name is None else names.escape(name),
    }


def columns(content: bytes, classes: int) -> dict[str, Any]:
    """What is in a photo: the columns from `width` on, as plain JSON data.

    Parameters
    ----------
    content
        The bytes of a picture file.
    classes
        Number of brightness classes.

    Raises
    ------
    models.images.PhotoError
        When the picture cannot be used.
    models.cards.ModelError
        When a model is missing or damaged.
    """
    photo, values = open_image(content)
    pets = pipeline.analyze(photo, previews.of_file(content, photo))
    described = pipeline.describe(photo, classes, pets, values)
    for pet, facts in zip(pets, described["pets"], strict=True):
        facts["mask"] = rle.encode(pet.region)
    return described


def models_used() -> dict[str, str]:
    """The models that `columns` uses, with the SHA-256 of each."""
    return {card.name: card.sha256 for card in store.defaults()}


def part_file(results: Path, number: int) -> Path:
    """The file with the rows of a part, once it is finished."""
    return results / f"part-{number:06d}.parquet"


class PartFile:
    """Writes a part's rows into its file, which appears whole or not at all.

    As a context manager it keeps the file if the block raises no error. Two workers on the same
    part write the same rows, and the later file replaces the other.

    Parameters
    ----------
    path
        As of `part_file`.
    facts
        For the file's metadata: how the rows were made.
    """

    def __init__(self, path: Path, facts: Mapping[str, str]) -> None:
        self.count = 0
        self._path = path
        # Readers of Parquet folders skip names that begin with a dot.
        self._draft = path.with_name(f".{path.name}.{os.getpid()}-{os.urandom(4).hex()}")
        self._schema = SCHEMA.with_metadata(dict(facts))
        self._waiting: list[Mapping[str, Any]] = []

    def __enter__(self) -> Self:
        self._file = self._draft.open("wb")
        self._writer = pq.ParquetWriter(self._file, self._schema, compression="zstd")
        return self

    def add(self, row: Mapping[str, Any]) -> None:
        """Append a row; missing columns of `SCHEMA` are null."""
        self.count += 1
        self._waiting.append(row)
        if len(self._waiting) == ROWS_A_GROUP:
            self._flush()

    def note(self, name: str, text: str) -> None:
        """Add what is known only at the end to the file's metadata."""
        self._writer.add_key_value_metadata({name: text})

    def _flush(self) -> None:
        self._writer.write_table(pa.Table.from_pylist(self._waiting, self._schema))
        self._waiting = []

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        try:
            if kind is None:
                self._flush()
                self._writer.close()
                self._file.flush()
                os.fsync(self._file.fileno())
                self._draft.replace(self._path)
        finally:
            self._file.close()
            self._draft.unlink(missing_ok=True)
