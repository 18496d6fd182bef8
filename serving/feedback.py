"""Photos that visitors correct and agree to have kept, where the app's owner asked for them.

    python app.py --feedback PLACE              # "This is wrong" stands under each pet and mask
    python -m serving.feedback list PLACE       # what was kept: id, breed and species
    python -m serving.feedback delete PLACE ID

PLACE is a folder, or a data set of the Hugging Face Hub as hf://datasets/OWNER/NAME. Either has the
layout of the Oxford-IIIT Pet data set; see `models.pet_folders`.
"""

import argparse
import math
import re
import shutil
import sys
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from models import commandline, pet_folders
from models.images import Photo
from serving import log
from serving.clients import TokenBuckets
from serving.settings import CannotStart

HUB = re.compile(r"hf://datasets/([\w.-]+/[\w.-]+)", re.ASCII)
PENDING = Path.home() / ".cache" / "petscope" / "feedback"  # what is not yet on the Hub
PER_HOUR = 20  # photos of one visitor
LARGEST = 1_000_000_000  # bytes of the folder
RESERVE = 200_000_000  # bytes of the disk that stay free


class Refused(Exception):  # noqa: N818 -- it is the visitor who is refused
    """A photo is not kept.

    Attributes
    ----------
    key
        Of the sentence that says why: "often" (with `minutes`), "full" or "failed".
    """

    def __init__(self, key: str, **values: int) -> None:
        super().__init__(key)
        self.key, self.values = key, values


class Uploader(Protocol):
    """Uploads what is in a folder."""

    def close(self) -> None:
        """Upload what waits, and end."""


class Keeper:
    """Keeps photos in a folder, within limits.

    Attributes
    ----------
    folder
        Where they are kept, or wait for their upload.
    data_set
        `OWNER/NAME` on the Hub, if they go there.
    """

    def __init__(self, folder: Path, data_set: str | None = None) -> None:
        self.folder, self.data_set = folder, data_set
        self._uploader: Uploader | None = None
        self._buckets = TokenBuckets(PER_HOUR, PER_HOUR / 3600)
        self._lock = threading.Lock()
        pet_folders.tidy(folder)
        if data_set:
            from serving import feedback_hub

            self._uploader = feedback_hub.Uploader(folder, data_set)

    def keep(
        self,
        client: str,
        photo: Photo,
        trimap: NDArray[np.uint8],
        breed: str | None,
        species: str,
    ) -> str:
        """Keep a photo of a client with its trimap; return its id.

        See `pet_folders.new_entry` and `pet_folders.add` for the other parameters.

        Raises
        ------
        Refused
            If a limit is reached, or it cannot be written.
        """
        entry = pet_folders.new_entry(breed, species)
        try:
            with self._lock:  # so that the next one counts this one
                self._check_limits(client, photo.nbytes)
                pet_folders.add(self.folder, entry, photo, trimap)
        except OSError:
            log.fault()
            raise Refused("failed") from None
        log.write("feedback", kept=1)
        return entry.name

    def _check_limits(self, client: str, most: int) -> None:
        """Check the limits for a photo of at most so many bytes, and count it."""
        free = shutil.disk_usage(self.folder).free - RESERVE
        if most > min(free, LARGEST - pet_folders.size(self.folder)):
            raise Refused("full")
        if wait := self._buckets.take(client):
            raise Refused("often", minutes=math.ceil(wait / 60))

    def close(self) -> None:
        """Upload what is waiting; what cannot be uploaded is tried again at the next start."""
        if self._uploader:
            self._uploader.close()


_keeper: Keeper | None = None  # of the page that is served


def start(place: str | None, public: Sequence[Path] = ()) -> None:
    """Keep photos from now on where the owner wants them; None for nowhere.

    Parameters
    ----------
    place
        A folder, or `hf://datasets/OWNER/NAME`.
    public
        Folders whose files the page shows to everybody.

    Raises
    ------
    CannotStart
        If nothing can be kept there.
    """
    global _keeper
    if not place:
        _keeper = None
        return
    data_set = data_set_of(place)
    folder = PENDING / data_set if data_set else Path(place).resolve()
    if any(folder.is_relative_to(each.resolve()) for each in public):
        raise CannotStart(f"Everybody may see what is in {place}: please keep photos elsewhere.")
    try:
        _keeper = Keeper(folder, data_set)
    except OSError as error:
        reason = error.strerror or type(error).__name__
        raise CannotStart(f"Photos cannot be kept in {folder} ({reason}).") from None


def keeper() -> Keeper | None:
    """Who keeps photos, if the owner asked for any."""
    return _keeper


def stop() -> None:
    """Upload the photos that still wait, and keep no more."""
    if _keeper:
        _keeper.close()


def data_set_of(place: str) -> str | None:
    """The data set that a place names, if it is on the Hub; None for a folder.

    Raises
    ------
    CannotStart
        If it is on the Hub, but no data set.
    """
    if found := HUB.fullmatch(place):
        return found[1]
    if "://" in place:
        raise CannotStart(f"Photos are kept in a folder or hf://datasets/OWNER/NAME, not {place}.")
    return None


def described(entry: pet_folders.Entry) -> str:
    """An entry for the owner: id, breed and species, separated by tabs."""
    labels = pet_folders.breeds()
    species = "cat" if entry.species == pet_folders.SPECIES["cat"] else "dog"
    known = 0 < entry.class_id <= len(labels)
    breed = labels[entry.class_id - 1].name if known else "another breed"
    return f"{entry.name}\t{breed}\t{species}"


def main(words: Sequence[str] | None = None) -> None:
    """List the photos that visitors sent, or delete one."""
    parser = argparse.ArgumentParser(prog="python -m serving.feedback", description=main.__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    for name, help in (
        ("list", "id, breed and species of each photo"),
        ("delete", "delete a photo, its mask and its line"),
    ):
        command = commands.add_parser(name, help=help, description=help)
        command.add_argument("place", help="a folder, or hf://datasets/OWNER/NAME")
        if name == "delete":
            command.add_argument("id", help="of the photo, as it is listed")
    arguments = parser.parse_args(words)
    try:
        _run(arguments.place, getattr(arguments, "id", None))
    except (CannotStart, OSError, UnicodeDecodeError) as error:
        raise SystemExit(f"{error}") from None


def _run(place: str, deleted: str | None) -> None:
    """List the photos at a place, or delete one of them."""
    data_set, folder = data_set_of(place), Path(place)
    if data_set:
        from serving import feedback_hub

        found = feedback_hub.entries(data_set)
    elif folder.is_dir():
        found = pet_folders.entries(folder)
    else:
        raise CannotStart(f"There is no folder {place}.")
    if deleted is None:
        for entry in found:
            print(described(entry))
        return
    gone = [entry for entry in found if entry.name == deleted]
    if not gone:
        raise CannotStart(f"There is no photo {deleted} in {place}.")
    if data_set:
        feedback_hub.remove(data_set, gone)
    else:
        pet_folders.remove(folder, gone)
    print(f"Deleted {deleted}.", file=sys.stderr)


if __name__ == "__main__":
    commandline.run(main)
