"""Which models exist, and where their files come from: folders of `NAME.onnx` + `NAME.json`.

$PETSCOPE_MODELS names a folder, or a repository of the Hugging Face Hub as `OWNER/REPO` or
`OWNER/REPO@REVISION`; several are separated by commas, and of models of the same name the first is
used. The embedded models are used without it, for whatever these lack, and if a repository is not
available.
"""

import atexit
import json
import logging
import os
import shutil
import tempfile
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import NamedTuple

from models import commandline, hub
from models.cards import PET, Card, ModelError, Task, names_in, read, read_network
from models.errors import one_line
from models.runtime import Network

EMBEDDED = Path(__file__).parent / "weights"
SOURCE_VARIABLE = "PETSCOPE_MODELS"

logger = logging.getLogger(__name__)


class Source(NamedTuple):
    """The models' folder, and a notice about it for visitors."""

    folder: Path
    notice: str | None = None


_chosen: str | None = None


def choose(setting: str | None) -> None:
    """Load models from a folder or repository in this process; None for what the variable names."""
    global _chosen
    _chosen = setting


def _setting() -> str:
    return os.environ.get(SOURCE_VARIABLE, "") if _chosen is None else _chosen


def source() -> Path:
    """The folder from which models are loaded, by `choose` or $PETSCOPE_MODELS.

    Raises
    ------
    ModelError
        If that is neither a folder nor a repository.
    """
    return resolve(_setting()).folder


def notice() -> str | None:
    """A sentence for visitors if other models are used than requested."""
    return resolve(_setting()).notice


@cache
def resolve(setting: str) -> Source:
    """Find the models that $PETSCOPE_MODELS names, downloading them if necessary; once per process.

    An unavailable repository is not an error: the notice says so, and the embedded models are used.

    Raises
    ------
    ModelError
        When it names neither a folder with models nor a repository.
    """
    whole = [setting] if setting and Path(setting).is_dir() else None  # its name may contain commas
    parts = [part.strip() for part in setting.split(",")]
    wanted = whole or [part.removeprefix("hf://") or part for part in parts if part]
    for name in wanted:
        if not Path(name).is_dir() and not hub.REPOSITORY.fullmatch(name):
            raise ModelError(
                f"{name!r} is neither a folder nor a repository of the Hub, which is written "
                "OWNER/REPO or OWNER/REPO@REVISION, with or without hf:// before it."
            )
    folders, notices = [], []
    for name in wanted:
        if Path(name).is_dir():
            if not names_in(Path(name)) and Path(name) != EMBEDDED:
                raise ModelError(f"There is no model in the folder {name}.")
            _check_complete(Path(name))
            folders.append(Path(name))
            continue
        try:
            folders.append(hub.fetch(name))
        except hub.HubError as error:
            absent = f"There is no folder {name}. " if Path(name).parent.is_dir() else ""
            notices.append(
                f"{absent}The models of {name} are not available ({error}), so the built-in ones "
                "are used."
            )
    if EMBEDDED not in folders:
        _check_complete(EMBEDDED)
        folders.append(EMBEDDED)
    for sentence in notices:
        logger.warning(sentence)
    return Source(_union(folders), " ".join(notices) or None)


def _check_complete(folder: Path) -> None:
    """Check that each card in a folder has its network, or another model would replace it.

    Raises
    ------
    ModelError
        When one has none.
    """
    for path in sorted(folder.glob("*.json")):
        try:
            facts = json.loads(path.read_text())
        except (OSError, ValueError):
            continue
        is_card = isinstance(facts, dict) and "task" in facts and "sha256" in facts
        if is_card and not path.with_suffix(".onnx").exists():
            raise ModelError(
                f"The model file {path.with_suffix('.onnx')} cannot be read: it is missing."
            )


def _union(folders: Sequence[Path]) -> Path:
    """A folder with the models of all folders; of models with the same name, the first folder's.

    The embedded models are added for tasks and subjects that no other folder has: outlines of pets,
    outlines of nuclei, breeds. If no model is named, one from an earlier folder is preferred: the
    cards of later ones lose their mark as the default.
    """
    if len(folders) == 1:
        return folders[0]
    union = Path(tempfile.mkdtemp(prefix="petscope-models-"))
    atexit.register(shutil.rmtree, union, ignore_errors=True)
    served: set[tuple[Task, str | None]] = set()
    for folder in folders:
        cards = [
            read(name, folder) for name in names_in(folder) if not (union / f"{name}.json").exists()
        ]
        if folder == EMBEDDED:
            cards = [card for card in cards if (card.task, card.subject) not in served]
        uses = {(card.task, card.subject) for card in cards}
        first = {use: _first(cards, *use) for use in uses - served}
        for card in cards:
            # Cards are copied, so that changing one does not change the Hub's cache.
            facts = {**card.facts, "default": first.get((card.task, card.subject)) is card}
            (union / f"{card.name}.json").write_text(json.dumps(facts, indent=2) + "\n")
            (union / f"{card.name}.onnx").symlink_to((folder / f"{card.name}.onnx").resolve())
        served |= uses
    return union


def _first(cards: Sequence[Card], task: Task, subject: str | None) -> Card:
    """The card of a task and subject that is marked as the default, otherwise the first."""
    found = [card for card in cards if (card.task, card.subject) == (task, subject)]
    return next((card for card in found if card.default), found[0])


def check() -> None:
    """Check that the files of every model that can be chosen are complete.

    Raises
    ------
    ModelError
        If a network's checksum is not the card's.
    """
    for card in cards():
        read_network(card, source())


def names(task: Task | None = None, folder: Path | None = None) -> list[str]:
    """Names of the models in the folder, of one task or of all, sorted."""
    return [card.name for card in cards(task, folder)]


def cards(task: Task | None = None, folder: Path | None = None) -> list[Card]:
    """Cards of the models in the folder, of one task or of all, sorted by name."""
    folder = folder or source()
    found = (read_card(name, folder) for name in names_in(folder))
    return [card for card in found if task in (None, card.task)]


def default(task: Task, subject: str | None = None) -> str:
    """Name of the model to use if none is chosen.

    The one marked as the default in its card, otherwise the first by name. For masks, only models
    of the subject count, which is "pet" unless given.

    Raises
    ------
    ModelError
        When there is no model for the task.
    """
    if task == "segmentation":
        subject = subject or PET
    found = [card for card in cards(task) if card.subject == subject]
    if not found:
        what = f"{task} of a {subject}" if subject else task
        raise ModelError(f"There is no model for {what} in {source()}.")
    return _first(found, task, subject).name


def defaults() -> list[Card]:
    """Cards of the default models, one per task; a detector is optional.

    Raises
    ------
    ModelError
        When there is no model for masks or for breeds.
    """
    needed: tuple[Task, ...] = ("segmentation", "classification")
    tasks: tuple[Task, ...] = (*needed, *(("detection",) if cards("detection") else ()))
    return [read_card(default(task)) for task in tasks]


def read_card(name: str, folder: Path | None = None) -> Card:
    """Read a model's card.

    Raises
    ------
    ModelError
        If there is none, or something is missing in it.
    """
    return read(name, folder or source())


def load(name: str, task: Task, folder: Path | None = None) -> tuple[Card, Network]:
    """Load a model and make it ready to run.

    Raises
    ------
    ModelError
        If it is missing, is for another task, cannot be run, or its checksum is not the card's.
    """
    folder = folder or source()
    card = read_card(name, folder)
    if card.task != task:
        raise ModelError(f"The model {name!r} is for {card.task}, not for {task}.")
    content = read_network(card, folder)
    try:
        return card, Network(content, card.input.batch_shape(1))
    except Exception as error:  # ONNX Runtime's errors have no narrower base class
        raise ModelError(f"The model {name!r} cannot be run: {one_line(error)}.") from error


if __name__ == "__main__":  # an earlier name of this command
    commandline.run(hub.main)
