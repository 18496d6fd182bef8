"""Which files a model's repository and a Space hold."""

import json
import subprocess
from collections.abc import Sequence
from pathlib import Path

from models import store
from models.cards import Card, read_network
from training import starting_weights
from training.publishing.code import refuse_code
from training.publishing.errors import PublishError
from training.publishing.readme import STARTING, model_readme
from training.runs import HISTORY, read_facts

ROOT = Path(__file__).parents[2]
SPACE = (
    "LICENSE",
    "README.md",
    "app.py",
    "examples",
    "models",
    "requirements.txt",
    "serving",
    "ui",
)
WEIGHTS = "models/weights/"

# What a run of each framework leaves, and what the Hub calls the library that reads it.
RUN_WEIGHTS = {
    "timm": ("model.safetensors", "config.json"),
    "smp": ("model.safetensors", "config.json"),
    "keras": ("model.keras",),
}

Files = dict[str, Path | bytes]  # by their path in the repository


def model_files(
    name: str, folder: Path, runs: Sequence[Path], repo: str, starts: Sequence[Path] = ()
) -> Files:
    """All files of a model's repository.

    Parameters
    ----------
    name, folder
        Of the model: its name, and where its card and network are.
    runs
        Training runs, whose own weights go along.
    repo
        `OWNER/NAME` on the Hub, for the README.
    starts
        Files of weights that the runs started from, to go along.

    Raises
    ------
    PublishError
        When one is missing, could run code, or is no file that the card names.
    models.cards.ModelError
        When card and network do not belong together, or the network cannot be run.
    training.runs.RunError
        When a folder is not a finished run.
    """
    card = store.read_card(name, folder)
    store.load(name, card.task, folder)
    files: Files = {
        f"{name}.onnx": folder / f"{name}.onnx",
        f"{name}.json": folder / f"{name}.json",
    }
    frameworks = []
    for number, run in enumerate(runs, start=1):
        framework, weights = run_files(run)
        frameworks.append(framework)
        place = "" if number == 1 else f"member-{number}/"
        files |= {f"{place}{path.name}": path for path in weights}
    files |= {f"{STARTING}/{path.name}": path for path in _starting(card, starts)}
    refuse_code(files)
    half_size = bool(runs) and _is_half_size(runs[0], frameworks[0])
    try:
        readme = model_readme(card, repo, frameworks, sorted(files), half_size)
    except KeyError as error:
        raise PublishError(f"The card {name}.json does not say its {error}.") from error
    return {**files, "README.md": readme.encode()}


def _starting(card: Card, starts: Sequence[Path]) -> Sequence[Path]:
    """The files of starting weights, of which the card says whose they are."""
    entries = [start or {} for start in starting_weights.listed(card.facts)]
    named = {start["file"]: start for start in entries if "file" in start}
    for path in starts:
        if path.name not in named:
            known = f"it names {' and '.join(named)}" if named else "it names no file"
            raise PublishError(
                f"The card {card.name}.json does not say that the model started from {path.name}: "
                f"{known}."
            )
        if not path.is_file():
            raise PublishError(f"There are no starting weights {path}.")
        if "license" not in named[path.name]:
            raise PublishError(
                f"The card {card.name}.json does not say under which licence {path.name} is."
            )
    return starts


def run_files(run: Path) -> tuple[str, list[Path]]:
    """Framework of a training run, and its files to publish.

    Raises
    ------
    PublishError
        When its weights are missing, or of a kind that is not published.
    training.runs.RunError
        When it is not a finished run.
    """
    framework = read_facts(run)["framework"]
    if framework not in RUN_WEIGHTS:
        raise PublishError(f"{run} is a run of {framework}, whose weights are not published.")
    weights = [run / name for name in RUN_WEIGHTS[framework]]
    for path in weights:
        if not path.is_file():
            raise PublishError(f"The training run {run} has no {path.name}.")
    history = run / HISTORY
    # Those that begin with a dot are another system's notes, as macOS' "._curves.png".
    plots = [path for path in sorted(run.glob("*.png")) if not path.name.startswith(".")]
    extras = [*([history] if history.is_file() else []), *plots]
    return framework, [*weights, *extras]


def _is_half_size(run: Path, framework: str) -> bool:
    """Whether a run's network is a `training.half_size_unet.HalfSizeUnet`."""
    if framework != "smp":
        return False
    try:
        kind = json.loads((run / "config.json").read_text()).get("_model_class")
    except (ValueError, AttributeError) as error:
        raise PublishError(f"{run / 'config.json'} is damaged.") from error
    return kind == "HalfSizeUnet"  # importing PyTorch for its name would take seconds


def space_files(with_weights: bool) -> Files:
    """The app's files that Git tracks, as they are in the working tree.

    Raises
    ------
    PublishError
        When this is no Git repository, or a needed file is missing or could run code.
    models.cards.ModelError
        When a card and a network do not belong together.
    """
    try:
        listing = subprocess.run(  # noqa: S603
            ["git", "ls-files", "-z", "--", *SPACE],  # noqa: S607
            cwd=ROOT,
            capture_output=True,
            text=True,
            check=True,
        ).stdout
    except (OSError, subprocess.CalledProcessError) as error:
        raise PublishError(f"What Git tracks in {ROOT} cannot be listed ({error}).") from error
    files: Files = {path: ROOT / path for path in listing.split("\0") if (ROOT / path).is_file()}
    for name in SPACE:
        if not any(path == name or path.startswith(f"{name}/") for path in files):
            raise PublishError(f"A Space needs {name}, which Git does not track here.")
    if with_weights:
        for name in store.names(folder=ROOT / WEIGHTS):
            read_network(store.read_card(name, ROOT / WEIGHTS), ROOT / WEIGHTS)
    else:
        files = {path: file for path, file in files.items() if not path.startswith(WEIGHTS)}
    refuse_code(files)
    return files
