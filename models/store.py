"""Which models exist, and where their files come from: folders of `NAME.onnx` + `NAME.json`.

The card, `NAME.json`, has everything that the app needs and a reader wants to know; the code
contains no such facts.

$PETSCOPE_MODELS names a folder, or a repository of the Hugging Face Hub as `OWNER/REPO` or
`OWNER/REPO@REVISION`; several are separated by commas, and of models of the same name the first is
used. The embedded models are used without it, for whatever these lack, and if a repository is not
available.

    python -m models.store OWNER/REPO@REVISION    # download it now, without a time limit
"""

from models import commandline

if __name__ == "__main__":
    commandline.quiet_interrupts()

import argparse
import atexit
import hashlib
import json
import logging
import math
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import cache, lru_cache
from pathlib import Path
from typing import Any, Literal, NamedTuple, get_args

import numpy as np
from numpy.typing import NDArray

from models.preprocessing import InputSpec
from models.runtime import Network

EMBEDDED = Path(__file__).parent / "weights"
SOURCE_VARIABLE = "PETSCOPE_MODELS"

REPOSITORY = re.compile(r"(?P<repo>[\w.-]+/[\w.-]+)(@(?P<revision>[\w./-]+))?", re.ASCII)
COMMIT = re.compile(r"[0-9a-f]{40}")

# The app starts only when its models are there, so a download that adds fewer than PROGRESS bytes
# to the cache in PATIENCE seconds is given up. `huggingface_hub` itself waits for a first answer
# without a limit, and retries for minutes. It writes 10 MB at a time.
PATIENCE = 15.0
PROGRESS = 1_000_000
ANSWER_TIMEOUT = 6

Task = Literal["segmentation", "classification", "detection"]
PET = "pet"  # what the page's own mask models outline
# What a rule may look at, see `models.pipeline.signs`; without a second head the first two alone.
SIGNS = ("log_share", "entropy", "breed", "other_pet", "other_thing", "known_pet", "agreement")
LARGEST_EXPONENT = 700.0  # e to this power still fits into a float

logger = logging.getLogger(__name__)


class ModelError(Exception):
    """A model is missing, damaged, or for another task."""


class HubError(Exception):
    """Why a repository's models are not available, as a part of a sentence."""


@dataclass(frozen=True)
class Label:
    """A class of a model; breeds have a species, "cat" or "dog"."""

    name: str
    species: str | None = None


Kind = Literal["dog", "cat", "other animal", "thing"]


@dataclass(frozen=True)
class OtherClass:
    """A class of a breed model's second head: what a photo may show besides the model's breeds.

    Attributes
    ----------
    name
        In English.
    kind
        "cat" is the domestic one.
    breed
        Name of the model's breed that it is; None if it is none of them.
    """

    name: str
    kind: Kind
    breed: str | None = None


@dataclass(frozen=True, eq=False)  # compared by identity: a thousand classes are many
class SecondHead:
    """What a breed model's second head answers.

    Attributes
    ----------
    classes
        In the order of the output.
    temperature
        What its logits are divided by.
    seen_as
        For each of the model's breeds, the numbers of the classes that its photos are seen as: the
        breed itself, or those it looks like if it is not among them.
    """

    classes: tuple[OtherClass, ...]
    temperature: float
    seen_as: Mapping[str, tuple[int, ...]]


@dataclass(frozen=True)
class Refusal:
    """How probably something is a pet of one of the model's breeds: a logistic regression.

    Attributes
    ----------
    weights
        By name, of the signs that it uses: `log_share`, the logarithm of the share of the photo
        that the region covers, and those of `models.breeds.Classification.signs`.
    intercept
        Added to the weighted signs.
    threshold
        The least probability, in [0, 1], at which it is accepted.
    """

    weights: Mapping[str, float]
    intercept: float
    threshold: float

    def probability(self, signs: Mapping[str, float]) -> float:
        """The probability that it is one, in [0, 1], if pets and other things are equally frequent.

        Parameters
        ----------
        signs
            The value of each sign that has a weight; there may be more.
        """
        score = sum(weight * signs[name] for name, weight in self.weights.items()) + self.intercept
        return 1 / (1 + math.exp(-score)) if score > -LARGEST_EXPONENT else 0.0


@dataclass(frozen=True)
class Upright:
    """How surely a pet is seen upright: a logistic regression on the second head's logits.

    Attributes
    ----------
    weights
        By the number of the class; those that are left out weigh nothing.
    intercept
        Added to the weighted logits.
    sure
        The log-odds from which on a photo is taken as upright without another look.
    margin
        By how much the log-odds of a turned photo must exceed those of the photo as it is.
    """

    weights: Mapping[int, float]
    intercept: float
    sure: float
    margin: float

    def score(self, logits: NDArray[np.float32]) -> float:
        """The log-odds, from the second head's `(classes,)` logits before their temperature."""
        weighted = (weight * logits[number] for number, weight in self.weights.items())
        return float(sum(weighted)) + self.intercept


class LookAlikes(NamedTuple):
    """Two breeds that are often taken for each other, on pictures kept from training.

    `pictures` show one of them and have both as the network's first two answers; in `right` of
    these the first is the true one.
    """

    pictures: int
    right: int


@dataclass(frozen=True)
class Boxes:
    """How a detector's output describes boxes; see `models.detection`.

    Attributes
    ----------
    strides
        Strides of the grids whose cells its output lists, in this order, in pixels of the input.
    bins
        Number of distances, 0 and up in strides, over which each side of a box has a distribution.
    least
        The least probability, in [0, 1], of a box that is kept.
    overlap
        IoU above which two boxes in one picture count as one.
    """

    strides: tuple[int, ...]
    bins: int
    least: float
    overlap: float


@dataclass(frozen=True)
class Candidates:
    """Which of several boxes in a photo are pets: log-odds that each is one.

    Attributes
    ----------
    box, pet, animal, part
        Weights of the log-odds of the box, of those that a breed model sees a cat or a dog in it,
        of whether it surely sees another animal, and of whether the box may be a part of another
        one's pet.
    intercept
        Added to the weighted signs.
    least
        The least log-odds at which it counts.
    alone
        The least probability, in [0, 1], of a box that counts if no box passes, or if it is the
        only one.
    """

    box: float
    pet: float
    animal: float
    part: float
    intercept: float
    least: float
    alone: float

    def accepts(self, box: float, pet: float, animal: bool, part: bool) -> bool:
        """Whether a box is a pet.

        Parameters
        ----------
        box, pet
            Log-odds that it is a pet, from the detector and from the breed model.
        animal
            Whether the breed model surely sees another animal.
        part
            Whether the box may be a part of another one's pet.
        """
        signs = self.box * box + self.pet * pet + self.animal * animal + self.part * part
        return signs + self.intercept >= self.least


@dataclass(frozen=True)
class Card:
    """The parts of a model card that the app needs, and the whole card for readers.

    Attributes
    ----------
    name
        The file's name without its extension.
    task
        "segmentation", "classification" or "detection".
    labels
        The classes in the order of the network's output.
    input
        How the network expects its photo.
    output_layout
        Order of the output's axes: "NC", "NCHW", "NHWC", or "NLC" for a detector's grid cells.
    sha256
        Of the `.onnx` file.
    facts
        The whole card as it was read.
    subject
        What a mask model outlines, such as "pet" or "nucleus"; if the card does not say, the first
        class that is neither background nor border.
    title
        The name that people see; if the card has none, its name.
    default
        Whether it is the default of its task.
    instances
        Whether a mask model's subject is separated into single objects and counted.
    refusal
        The rule for refusing a breed model's answer, if one was fitted.
    second_head
        What a breed model's last output means, if it has a second head.
    upright
        The rule for photos that lie on their side, if one was fitted to the second head.
    boxes
        How to decode a detector's output.
    candidates
        The rule that decides between a detector's boxes, if one was fitted.
    pointing
        Whether a mask model understands greyed surroundings; see `models.segmentation.point_out`.
    """

    name: str
    task: Task
    labels: tuple[Label, ...]
    input: InputSpec
    output_layout: Literal["NC", "NCHW", "NHWC", "NLC"]
    sha256: str
    facts: Mapping[str, Any]
    subject: str | None = None
    title: str = ""
    default: bool = False
    instances: bool = False
    refusal: Refusal | None = None
    second_head: SecondHead | None = None
    upright: Upright | None = None
    boxes: Boxes | None = None
    candidates: Candidates | None = None
    pointing: bool = False

    def look_alikes(self, one: str, other: str) -> LookAlikes | None:
        """What was measured for two breeds that are often confused; None for other pairs.

        The split with the most pictures counts.
        """
        measured: list[tuple[int, dict[str, dict[str, int]]]] = [
            (figures["pictures"], figures["look_alikes"])
            for figures in self.facts.get("metrics", {}).values()
            if "look_alikes" in figures
        ]
        _, pairs = max(measured, key=lambda each: each[0], default=(0, {}))
        names = [label.name for label in self.labels if label.name in (one, other)]
        counts = pairs.get(" or ".join(names))
        return LookAlikes(counts["pictures"], counts["right"]) if counts else None


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
    wanted = whole or [name for part in setting.split(",") if (name := part.strip())]
    for name in wanted:
        if not Path(name).is_dir() and not REPOSITORY.fullmatch(name):
            raise ModelError(
                f"{name!r} is neither a folder nor a repository of the Hub, which is written "
                "OWNER/REPO or OWNER/REPO@REVISION."
            )
    folders, notices = [], []
    for name in wanted:
        if Path(name).is_dir():
            if not any(_found(Path(name))) and Path(name) != EMBEDDED:
                raise ModelError(f"There is no model in the folder {name}.")
            _check_complete(Path(name))
            folders.append(Path(name))
            continue
        try:
            folders.append(fetch(name))
        except HubError as error:
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
            read_card(name, folder)
            for name in _found(folder)
            if not (union / f"{name}.json").exists()
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


def _found(folder: Path) -> Iterator[str]:
    """Names of the models in a folder, sorted; other `.json` files have no network beside them."""
    for path in sorted(folder.glob("*.json")):
        # macOS writes "._NAME.json" beside a file on some disks.
        if not path.name.startswith(".") and (folder / f"{path.stem}.onnx").exists():
            yield path.stem


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
    found = (read_card(name, folder) for name in _found(folder))
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
    path = (folder or source()) / f"{name}.json"
    try:
        return _parse(path, path.stat().st_mtime_ns)
    except FileNotFoundError:
        raise ModelError(f"There is no model {name!r} in {path.parent}.") from None


@lru_cache(maxsize=32)
def _parse(path: Path, changed: int) -> Card:
    """The card in a file, read again only if the file changes: each answer needs several cards."""
    try:
        facts = json.loads(path.read_text())
        if facts["task"] not in get_args(Task):
            raise ValueError(f"task must be {' or '.join(get_args(Task))}")
        return Card(
            name=path.stem,
            task=facts["task"],
            labels=tuple(Label(**label) for label in facts["labels"]),
            input=InputSpec(**facts["input"]),
            output_layout=facts["output"]["layout"],
            sha256=facts["sha256"],
            facts=facts,
            subject=_subject(facts),
            title=facts.get("title", path.stem),
            default=facts.get("default", False),
            instances=facts.get("instances", False),
            refusal=_refusal(facts) if "refusal" in facts else None,
            second_head=_second_head(facts["otherwise"]) if "otherwise" in facts else None,
            upright=_upright(facts) if "upright" in facts else None,
            boxes=_boxes(facts["boxes"]) if "boxes" in facts else None,
            candidates=_candidates(facts) if "candidates" in facts else None,
            pointing=facts.get("pointing", False),
        )
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise ModelError(f"The model card {path} cannot be used: {error!r}.") from error


def _subject(facts: Mapping[str, Any]) -> str | None:
    if facts["task"] != "segmentation":
        return None
    named = (label["name"] for label in facts["labels"])
    return facts.get("subject") or next(
        (name for name in named if name not in ("background", "border")), None
    )


def _refusal(facts: Mapping[str, Any]) -> Refusal:
    """The rule of a card: the signs' weights by name, with intercept and threshold among them."""
    numbers = {name: float(value) for name, value in facts["refusal"]["rule"].items()}
    intercept, threshold = numbers.pop("intercept"), numbers.pop("threshold")
    if unknown := set(numbers) - set(SIGNS if "otherwise" in facts else SIGNS[:2]):
        raise ValueError(f"the rule that refuses has unknown signs: {', '.join(sorted(unknown))}")
    return Refusal(numbers, intercept, threshold)


def _upright(facts: Mapping[str, Any]) -> Upright:
    """What `training.turns` wrote into a card."""
    rule, classes = facts["upright"]["rule"], len(facts["otherwise"]["names"])
    weights = {int(number): float(weight) for number, weight in rule["weights"].items()}
    if not all(0 <= number < classes for number in weights):
        raise ValueError("The rule for upright photos names classes that the head does not have.")
    return Upright(weights, *(float(rule[name]) for name in ("intercept", "sure", "margin")))


def _second_head(facts: Mapping[str, Any]) -> SecondHead:
    """What `training.imagenet` and `training.refusal` wrote into a card."""
    kinds = {
        number: run["kind"]
        for run in facts["kinds"]
        for number in range(run["first"], run["last"] + 1)
    }
    breeds = {number: name for name, number in facts["breeds"].items()}
    classes = tuple(
        OtherClass(name, kinds[number], breeds.get(number))
        for number, name in enumerate(facts["names"])
    )
    seen_as = facts.get("seen_as") or {name: [number] for number, name in breeds.items()}
    return SecondHead(
        classes,
        float(facts.get("temperature", 1.0)),
        {name: tuple(numbers) for name, numbers in seen_as.items()},
    )


def _boxes(facts: Mapping[str, Any]) -> Boxes:
    return Boxes(**{**facts, "strides": tuple(facts["strides"])})


def _candidates(facts: Mapping[str, Any]) -> Candidates:
    """What `training.candidates` wrote into a card."""
    return Candidates(**{name: float(value) for name, value in facts["candidates"]["rule"].items()})


def read_network(card: Card, folder: Path) -> bytes:
    """Read the `.onnx` file that belongs to a card.

    Raises
    ------
    ModelError
        If it is missing, or its checksum is not the card's.
    """
    path = folder / f"{card.name}.onnx"
    try:
        content = path.read_bytes()
    except OSError as error:
        raise ModelError(f"The model file {path} cannot be read: {error}.") from error
    if hashlib.sha256(content).hexdigest() != card.sha256:
        raise ModelError(f"{path} is damaged or was replaced: its SHA-256 is not the card's.")
    return content


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
        raise ModelError(f"The model {name!r} cannot be run: {_one_line(error)}.") from error


def fetch(name: str) -> Path:
    """The folder with a repository's models in the cache of `huggingface_hub`.

    A commit that is in the cache needs no network; a branch or tag is looked up, and taken from the
    cache if the Hub cannot be reached. Damaged files are downloaded once more.

    Raises
    ------
    HubError
        If the models can neither be downloaded nor found in the cache, or are damaged.
    """
    cached = _cached(name)
    if cached and COMMIT.fullmatch(split(name)[1] or ""):
        folder = cached
    else:
        try:
            folder = _download(name)
        except HubError as error:
            if cached is None:
                raise
            logger.warning("%s is taken from the cache: %s.", name, error)
            folder = cached
    if damage := _damage(folder):
        with suppress(HubError):
            folder = _download(name, again=True)
        if damage := _damage(folder):
            raise HubError(damage)
    return folder


def split(name: str) -> tuple[str, str | None]:
    """Split `OWNER/REPO@REVISION` into the repository and the revision, if it has one."""
    repo, _, revision = name.partition("@")
    return repo, revision or None


def _damage(folder: Path) -> str | None:
    """What is wrong with the models in a folder, as a part of a sentence; empty if nothing is."""
    found = list(_found(folder))
    for name in found:
        try:
            read_network(read_card(name, folder), folder)
        except ModelError as error:
            logger.warning(error)
            return f"its model {name!r} is damaged"
    return None if found else "it holds no models"


def _snapshot(name: str, *, local_files_only: bool = False, force_download: bool = False) -> Path:
    from huggingface_hub import snapshot_download

    repo, revision = split(name)
    folder = snapshot_download(
        repo,
        revision=revision,
        allow_patterns=["*.json", "*.onnx"],
        ignore_patterns=["*/*"],
        local_files_only=local_files_only,
        force_download=force_download,
    )
    return Path(folder)


def _cached(name: str) -> Path | None:
    from huggingface_hub.errors import HFValidationError, LocalEntryNotFoundError

    try:
        return _snapshot(name, local_files_only=True)
    except (HFValidationError, LocalEntryNotFoundError):
        return None


def _download(name: str, again: bool = False) -> Path:
    """Download in a separate process, which can be ended when no more data arrives."""
    from huggingface_hub.constants import HF_HUB_CACHE

    command = [sys.executable, "-m", "models.store", *(["--again"] if again else []), "--", name]
    paths = [str(Path(__file__).parents[1]), *filter(None, [os.environ.get("PYTHONPATH")])]
    environment = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join(paths),
        "HF_HUB_DISABLE_PROGRESS_BARS": "1",
        "HF_HUB_DISABLE_TELEMETRY": "1",
    }
    repo, _ = split(name)
    blobs = Path(HF_HUB_CACHE, f"models--{repo.replace('/', '--')}", "blobs")
    arrived, since = _size(blobs), time.monotonic()
    with subprocess.Popen(  # noqa: S603  (no shell, and the name is no option)
        command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        while True:
            try:
                folder, complaint = process.communicate(timeout=0.5)
                break
            except subprocess.TimeoutExpired:
                now, size = time.monotonic(), _size(blobs)
                if size >= arrived + PROGRESS:
                    arrived, since = size, now
                elif now > since + PATIENCE:
                    process.kill()
                    raise HubError("the Hub does not answer, or too slowly") from None
    if process.returncode:
        raise HubError(complaint.strip().rpartition("\n")[2] or "its download was ended")
    return Path(folder.strip())


def _size(folder: Path) -> int:
    total = 0
    for path in folder.glob("*"):
        with suppress(FileNotFoundError):  # the file was renamed since it was listed
            total += path.stat().st_size
    return total


def http_status(error: BaseException) -> int | None:
    """The HTTP status that caused an error of `huggingface_hub`, if one did."""
    for cause in causes(error):
        if (response := getattr(cause, "response", None)) is not None:
            return response.status_code
    return None


def causes(error: BaseException | None) -> Iterator[BaseException]:
    """An error, its cause, and so on."""
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__


def hub_reason(error: Exception) -> str:
    """Why a download failed, as a part of a sentence."""
    from huggingface_hub.errors import HTTPError, OfflineModeIsEnabled

    status = http_status(error)
    if status in (401, 404):
        return "the Hub has no such repository or revision, or it is private"
    if status == 403:
        return "the Hub refuses access to it"
    if status == 429:
        return "the Hub has too many requests at the moment"
    if status:
        return f"the Hub answers with error {status}"
    for cause in causes(error):
        if isinstance(cause, OfflineModeIsEnabled):
            return "it is not in the cache, and offline mode is set"
        if isinstance(cause, HTTPError):
            return "the Hub cannot be reached, or the connection was cut"
    return _one_line(error)


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split()).rstrip(".") or type(error).__name__


def main(words: Sequence[str] | None = None) -> None:
    """Download a repository's models into the cache and print their folder."""
    parser = argparse.ArgumentParser(prog="python -m models.store", description=main.__doc__)
    parser.add_argument("name", help="OWNER/REPO or OWNER/REPO@REVISION")
    parser.add_argument("--again", action="store_true", help="also what is in the cache already")
    arguments = parser.parse_args(words)
    from huggingface_hub import HfApi

    repo, revision = split(arguments.name)
    try:
        # The download would retry for a long time what this reports at once.
        HfApi().model_info(repo, revision=revision, timeout=ANSWER_TIMEOUT)
        print(_snapshot(arguments.name, force_download=arguments.again))
    except Exception as error:
        raise SystemExit(hub_reason(error)) from error


if __name__ == "__main__":
    commandline.run(main)
