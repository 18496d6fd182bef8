"""What a training run leaves beside its weights, so that export and card need no guess."""

import argparse
import csv
import json
import platform
import shlex
import sys
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

from models.preprocessing import InputSpec

FILE = "run.json"
# What a card says that a run was trained on, by its `--split`.
WHOLE, RANDOM = "trainval", "a random part of all pictures"
TRAINED_ON = {"official": "train (without the held-out part)", "trainval": WHOLE, "random": RANDOM}
CLOCK = "seconds.txt"
_START = time.perf_counter()
_earlier: dict[Path, float] = {}  # seconds of the processes that a run was interrupted in


class RunError(Exception):
    """A folder holds no finished training run, or none that serves the purpose."""


def add_arguments(
    parser: argparse.ArgumentParser, *, epochs: int, batch: int, rate: float, seed: int
) -> None:
    """Add the options that every training of a network has, with the script's own defaults."""
    parser.add_argument("--epochs", type=int, default=epochs)
    parser.add_argument("--batch", type=int, default=batch, help="pictures a step")
    parser.add_argument("--rate", type=float, default=rate, help="peak learning rate")
    parser.add_argument("--seed", type=int, default=seed)
    parser.add_argument(
        "--find-rate", action="store_true", help="plot loss over learning rate, and stop"
    )
    parser.add_argument("--resume", action="store_true", help="go on with an interrupted run")
    parser.add_argument("--dry-run", action="store_true", help="one epoch on a few pictures")


def describe_run(run: Path, *, input_spec: InputSpec, **facts: object) -> None:
    """Write `run.json`: the facts, and what every run tells of itself.

    That is the input specification, the command, the seconds that it took and the Python version.
    """
    description = {
        "seconds": round(seconds(run), 1),
        **facts,
        "input": asdict(input_spec),
        "command": command(),
        "python": platform.python_version(),
    }
    (run / FILE).write_text(json.dumps(description, indent=2) + "\n")
    (run / CLOCK).unlink()


def seconds(run: Path) -> float:
    """How long the run has taken until now, with the processes that it was interrupted in.

    To be called after each checkpoint: what is called for the last time there is what an
    interrupted process counts for.
    """
    clock = run / CLOCK
    if run not in _earlier:
        _earlier[run] = float(clock.read_text()) if clock.exists() else 0.0
    total = _earlier[run] + time.perf_counter() - _START
    clock.write_text(f"{total:.1f}\n")
    return total


def read_run(run: Path) -> dict[str, Any]:
    """Read what `describe_run` wrote; the input specification is an `InputSpec` again.

    Raises
    ------
    RunError
        When it cannot be read.
    """
    try:
        description = json.loads((run / FILE).read_text())
        return {**description, "input": InputSpec(**description["input"])}
    except (OSError, KeyError, TypeError, ValueError) as error:
        raise RunError(
            f"{run} is no finished training run: its {FILE} cannot be used ({error!r})."
        ) from error


def trained_on(facts: dict[str, Any]) -> str:
    """What part of its data set a run was trained on, in words."""
    return TRAINED_ON[facts.get("split", "official")]


def read_history(path: Path) -> list[dict[str, float]]:
    """Rows of a `history.csv`, one an epoch; its columns that hold no numbers are left out."""
    with path.open(newline="") as file:
        return [
            {key: float(value) for key, value in row.items() if _is_number(value)}
            for row in csv.DictReader(file)
        ]


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def command() -> str:
    """The command line of this process as `python -m package.module options`."""
    main = sys.modules["__main__"]
    spec = getattr(main, "__spec__", None)
    program = f"-m {spec.name}" if spec else sys.argv[0]
    return shlex.join(["python", *program.split(), *sys.argv[1:]])
