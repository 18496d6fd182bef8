"""Many photos: each is analyzed separately, and the results are stored in a folder and packed."""

import csv
import errno
import io
import zipfile
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any
from unicodedata import category, normalize

import numpy as np
from PIL import Image

from models import breeds, drawing, matting, pipeline, previews, segmentation, store
from models.drawing import Color
from models.images import PhotoError, open_picture
from models.pipeline import Pet
from models.preprocessing import as_image

FORMULAS = ("=", "+", "-", "@")  # first characters of a cell that a spreadsheet would compute
CUT_OUT_SIDE = 2048  # pixels, longer side: two hundred cut-outs must fit on a disk
COLUMNS = (
    "file",
    "error",
    "width",
    "height",
    "cuts",
    "turn",
    "pet",
    "left",
    "top",
    "right",
    "bottom",
    "share",
    "refused",
    "breed",
    "species",
    "probability",
    "otherwise",
    "otherwise_kind",
    "otherwise_probability",
)


@dataclass(frozen=True)
class Entry:
    """The results for one photo in an album.

    Attributes
    ----------
    file
        The photo's name, unique in the album.
    facts
        The result of `pipeline.describe`, or None if the photo could not be used.
    error
        Why it could not be used, or which of its files were lost; otherwise None.
    preview
        A small JPEG with the pets marked, or None.
    """

    file: str
    facts: dict[str, Any] | None = None
    error: PhotoError | None = None
    preview: Path | None = None


@dataclass(frozen=True)
class Spreadsheet:
    """The format of a table, so that a double click opens it correctly in the reader's language.

    Attributes
    ----------
    separator
        Between columns.
    decimal
        The decimal point.
    tell
        Gives the sentence for an error.
    """

    separator: str = ","
    decimal: str = "."
    tell: Callable[[PhotoError], str] = str


ENGLISH = Spreadsheet()


def unique_names(names: Iterable[str]) -> list[str]:
    """File names without folders, made unique: the second `cat.jpg` becomes `cat (2).jpg`.

    `cat.png` is renamed too, because the results of both would be named `cat-mask.png`.

    Names that a spreadsheet would take for a formula get a `_` in front: `-cat.jpg` becomes
    `_-cat.jpg`, both in the table and in the archive.
    """
    taken: set[str] = set()
    unique = []
    for name in names:
        path = Path(Path(name.replace("\\", "/")).name or "photo")
        if _is_formula(path.name):
            path = path.with_name(f"_{path.name}")
        candidate, number = path.name, 1
        while Path(candidate).stem.lower() in taken:
            number += 1
            candidate = f"{path.stem} ({number}){path.suffix}"
        taken.add(Path(candidate).stem.lower())
        unique.append(candidate)
    return unique


def _is_formula(cell: str) -> bool:
    """Whether a spreadsheet may compute a cell, ignoring blanks and invisible characters."""
    # Some treat full-width characters like the usual ones.
    seen = (char for char in normalize("NFKC", cell) if category(char)[0] not in "CZ")
    return next(seen, "") in FORMULAS


def examine(
    photo_file: Path,
    name: str,
    folder: Path,
    mask_colors: Sequence[Color],
    pet_colors: Sequence[Color],
    label: Callable[[int, Pet], str],
    preview_side: int,
    read: previews.Read = open_picture,
) -> Entry:
    """Analyze one photo, and write its mask, its cut-out and a preview into a folder.

    Parameters
    ----------
    photo_file
        Path of the photo.
    name
        Its name in the album, one of `unique_names`.
    folder
        Folder for `masks/`, `cut-outs/` and `previews/`, which are created if missing.
    mask_colors
        Colours of the mask's values 1, 2 and 3 in viewers.
    pet_colors
        Colours of the pets in the preview, in turn.
    label
        Gives a pet's label in the preview, by its number, counted from 1.
    preview_side
        Longer side of the preview in pixels.
    read
        Function that reads the photo, like `models.images.open_picture`.

    Raises
    ------
    models.cards.ModelError
        When a model is missing or damaged.
    """
    try:
        picture = read(photo_file)
        preview = previews.of_file(photo_file, picture.photo, read)
    except PhotoError as error:
        return Entry(name, error=error)
    segmenter = segmentation.load(store.default("segmentation"))
    seen = as_image(preview)
    classifier = breeds.load(store.default("classification"))
    found, pets = pipeline.outline(seen, segmenter, classifier)
    small = as_image(picture.photo)
    small.thumbnail((CUT_OUT_SIDE, CUT_OUT_SIDE), reducing_gap=2.0)
    opaque = 255 if pets else 0  # or things that look a little like a pet would leave a ghost
    foreground = np.round(found.foreground() * opaque).astype(np.uint8)
    cut_out = matting.extract(np.asarray(small), foreground, segmenter.card.input)
    colors = [pet_colors[index % len(pet_colors)] for index in range(len(pets))]
    names = [label(number, pet) for number, pet in enumerate(pets, start=1)]
    marked = drawing.annotate(preview, [pet.region for pet in pets], names, colors, preview_side)
    mask = found.resized(*picture.size).mask
    if not pets and "background" in found.classes:
        mask = np.full_like(mask, found.classes.index("background") + 1)
    indexed = drawing.indexed_picture(mask, dict(enumerate(mask_colors, start=1)))
    mask_file, cut_out_file = _kept_files(name, folder)
    marked_file = folder / "previews" / f"{Path(name).stem}-pets.jpg"
    try:
        for file in (mask_file, cut_out_file, marked_file):
            file.parent.mkdir(parents=True, exist_ok=True)
        indexed.save(mask_file, compress_level=1)
        Image.fromarray(cut_out).save(cut_out_file, compress_level=1)
        marked.save(marked_file, quality=85)
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT):
            raise
        for file in (mask_file, cut_out_file, marked_file):
            file.unlink(missing_ok=True)
        return Entry(name, error=PhotoError("photo_no_room"))
    pets = pipeline.at_size(pets, *picture.size)
    values = picture.counted if picture.deep else None
    return Entry(
        name, pipeline.describe(picture.photo, pets=pets, values=values), preview=marked_file
    )


def _kept_files(name: str, folder: Path) -> tuple[Path, Path]:
    """The mask and the cut-out of a photo, by its name in the album."""
    stem = Path(name).stem
    return folder / "masks" / f"{stem}-mask.png", folder / "cut-outs" / f"{stem}-cut-out.png"


def with_losses(entries: Iterable[Entry], folder: Path) -> list[Entry]:
    """The entries; if a mask or cut-out no longer exists, the entry's error says so."""
    return [
        replace(entry, error=PhotoError("photo_results_lost"))
        if entry.error is None
        and not all(file.exists() for file in _kept_files(entry.file, folder))
        else entry
        for entry in entries
    ]


def table(entries: Iterable[Entry], spreadsheet: Spreadsheet = ENGLISH) -> str:
    """The album as CSV: a row for each pet, and one for each photo without pets."""
    text = io.StringIO()
    writer = csv.DictWriter(text, COLUMNS, restval="", delimiter=spreadsheet.separator)
    writer.writeheader()

    def written(number: float, form: str) -> str:
        return format(number, form).replace(".", spreadsheet.decimal)

    for entry in entries:
        told = spreadsheet.tell(entry.error) if entry.error else ""
        if entry.facts is None:
            writer.writerow({"file": entry.file, "error": told})
            continue
        photo = {
            "file": entry.file,
            "error": told,
            "width": entry.facts["width"],
            "height": entry.facts["height"],
            "cuts": " ".join(written(cut, "g") for cut in entry.facts["cuts"] or ()),
            "turn": entry.facts["turn"],
        }
        lines = [
            _pet_columns(number, pet, written) for number, pet in enumerate(entry.facts["pets"], 1)
        ]
        writer.writerows({**photo, **line} for line in lines or [{}])
    return text.getvalue()


def _pet_columns(
    number: int, pet: dict[str, Any], written: Callable[[float, str], str]
) -> dict[str, Any]:
    best, otherwise = pet["breeds"][0], pet["otherwise"]
    columns = {
        "pet": number,
        **dict(zip(("left", "top", "right", "bottom"), pet["box"], strict=True)),
        "share": written(pet["share"], ".4f"),
        "refused": pet["refused"],
        "breed": best["name"],
        "species": best["species"],
        "probability": written(best["probability"], ".4f"),
    }
    if otherwise is None:
        return columns
    return columns | {
        "otherwise": otherwise["name"],
        "otherwise_kind": otherwise["kind"],
        "otherwise_probability": written(otherwise["probability"], ".4f"),
    }


def pack(entries: Iterable[Entry], folder: Path, spreadsheet: Spreadsheet = ENGLISH) -> Path:
    """Write `album.zip` into the folder: its masks and cut-outs, and `pets.csv`.

    The table also has rows for missing photos, with the reason. It begins with a byte-order mark,
    by which spreadsheets recognise UTF-8.
    """
    target = folder / "album.zip"
    with zipfile.ZipFile(target, "w") as archive:  # PNGs are already compressed
        content = table(entries, spreadsheet).encode("utf-8-sig")
        archive.writestr("pets.csv", content, zipfile.ZIP_DEFLATED)
        for kind in ("masks", "cut-outs"):
            for file in sorted((folder / kind).glob("*.png")):
                archive.write(file, f"{kind}/{file.name}")
    return target
