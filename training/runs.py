"""A training run's folder: who may write into it, and what it leaves beside its weights.

One rule for all scripts: a run writes only into a folder that is new, empty, or a run of the same
script. To continue an interrupted run needs `--resume` and the same settings. `--overwrite`
replaces a run, and removes only what runs write. A dry run and a search for the learning rate have
their own folders, `OUT-dry-run` and `OUT-find-rate`.
"""

import argparse
import csv
import json
import platform
import re
import shlex
import shutil
import stat
import sys
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from types import TracebackType
from typing import Any

from models.cards import Card
from models.preprocessing import InputSpec
from training.command_line import positive, positive_float, without_folder_options
from training.errors import Interrupted, UserError

FILE = "run.json"
SETTINGS = "settings.json"
HISTORY = "history.csv"
CLOCK = "seconds.txt"
RATE_PLOT = "rate.png"
CHECKPOINTS, BACKUP = "checkpoints", "backup"  # folders that only an unfinished run needs
# Everything that a run of any script writes, and so everything that `--overwrite` may remove.
LEFT = (
    *(FILE, SETTINGS, HISTORY, CLOCK, RATE_PLOT, "curves.png", "learning_curve.png"),
    *("predictions.png", "config.json", "model.safetensors", "model.keras"),
    *(CHECKPOINTS, BACKUP, "tensorboard"),
)
# Arguments of the `train` functions that do not decide on the result: where files lie, and what
# happens to those that are there already.
NO_SETTINGS = {
    *("out", "root", "source", "others_source", "detector", "skip_damaged", "verbose"),
    *("resume", "overwrite", "dry_run", "find_rate"),
}
DRY_EPOCHS, DRY_BATCH = 1, 4
# What a card states as the training data of a run, by its `--split`.
WHOLE, RANDOM = "trainval", "a random part of all pictures"
TRAINED_ON = {"official": "train (without the held-out part)", "trainval": WHOLE, "random": RANDOM}

DRY_RUN, FIND_RATE = "dry-run", "find-rate"


class RunError(UserError):
    """A folder holds no suitable training run, or may not be written to."""


def add_arguments(
    parser: argparse.ArgumentParser,
    *,
    epochs: int,
    batch: int,
    rate: float,
    seed: int,
    find_rate: bool = True,
) -> None:
    """Add the options that every training of a network has, with the script's own defaults."""
    parser.add_argument("--epochs", type=positive, default=epochs, help="passes over the pictures")
    parser.add_argument("--batch", type=positive, default=batch, help="pictures a step")
    parser.add_argument("--rate", type=positive_float, default=rate, help="peak learning rate")
    parser.add_argument("--seed", type=int, default=seed, help="of all random numbers")
    add_folder_arguments(parser)
    parser.add_argument("--resume", action="store_true", help="continue an interrupted run")
    if find_rate:
        parser.add_argument(
            "--find-rate",
            action="store_true",
            help="plot loss over learning rate into the folder OUT-find-rate, and stop",
        )


def add_folder_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options about a run's folder that every training has."""
    parser.add_argument("--overwrite", action="store_true", help="replace the run in the folder")
    parser.add_argument(
        "--dry-run",
        action="store_true",
        help="try everything on a few pictures, in the folder OUT-dry-run",
    )


def settings(arguments: Mapping[str, object]) -> dict[str, object]:
    """Those arguments of a `train` function, as its `locals()`, that decide on the result."""
    return {name: value for name, value in arguments.items() if name not in NO_SETTINGS}


class Run:
    """A run and the folder it is written to. Creating one only looks at the folder; `begin` writes.

    As a context manager it turns Ctrl-C after `begin` into `Interrupted`.

    Parameters
    ----------
    out
        The run's folder; that of a dry run or a search for the rate is named after it.
    script
        Name of the script, such as "train_breeds".
    settings
        The options that affect the result, by name; see `settings`.
    resume, overwrite, dry_run, find_rate
        As the options of the same names.
    first
        Whether this is the only process or the first of several, which alone looks and writes.

    Raises
    ------
    RunError
        If the folder may not be written to, or the settings differ from those of the interrupted
        run.
    """

    def __init__(
        self,
        out: str | Path,
        script: str,
        settings: Mapping[str, object],
        *,
        resume: bool = False,
        overwrite: bool = False,
        dry_run: bool = False,
        find_rate: bool = False,
        first: bool = True,
    ) -> None:
        out = Path(out)
        self._dry = dry_run
        self.kind = FIND_RATE if find_rate else DRY_RUN if dry_run else "run"
        if resume and self.kind != "run":
            raise RunError(
                f"--{self.kind} always starts afresh: it cannot be combined with --resume."
            )
        self.folder = out if self.kind == "run" else out.with_name(f"{out.name}-{self.kind}")
        self.resumed = resume
        self.finished = self.begun = False
        self._script, self._first = script, first
        self._settings = json.loads(json.dumps(settings, default=str))
        self._start, self._earlier = time.perf_counter(), 0.0
        if first:
            self._look(resume, overwrite)

    def _look(self, resume: bool, overwrite: bool) -> None:
        folder = self.folder
        if folder.exists() and not folder.is_dir():
            raise RunError(f"{folder} is a file: --out names a folder.")
        if not folder.exists() or not any(folder.iterdir()):
            if resume:
                raise RunError(f"{folder} holds no run to resume: start one without --resume.")
            return
        owner = _script_of(folder)
        if owner is None:
            raise RunError(
                f"{folder} holds files that no training run wrote: choose another --out."
            )
        if owner != self._script:
            raise RunError(f"{folder} is a run of training.{owner}: choose another --out.")
        finished = (folder / FILE).exists()
        if self.kind != "run" or overwrite:
            return
        if not resume:
            what = "a finished run" if finished else "an interrupted run"
            go_on = "" if finished else "--resume continues it, "
            raise RunError(
                f"{folder} holds {what}: {go_on}--overwrite replaces it, another --out keeps it."
            )
        if (folder / SETTINGS).exists():
            self._compare(json.loads((folder / SETTINGS).read_text())["settings"])
        self.finished = finished
        if finished:
            print(f"{folder} is finished: there is nothing left to do.")
        clock = folder / CLOCK
        self._earlier = float(clock.read_text()) if clock.exists() else 0.0

    def _compare(self, before: Mapping[str, object]) -> None:
        """Refuse settings other than those that the run was begun with."""
        changed = [
            _change(name, before.get(name), value)
            for name, value in self._settings.items()
            if before.get(name) != value
        ]
        if changed:
            raise RunError(
                f"{self.folder} was begun with {', '.join(changed)}: --resume takes the same "
                "settings, --overwrite starts anew."
            )

    def length(self, epochs: int, batch: int) -> tuple[int, int]:
        """The given epochs and batch size, or those of a dry run."""
        return (DRY_EPOCHS, DRY_BATCH) if self._dry else (epochs, batch)

    def begin(self) -> None:
        """Make the folder this run's: remove what an earlier run left, unless it is resumed."""
        if not self._first:
            return
        if not self.resumed:
            for name in LEFT:
                path = self.folder / name
                if path.is_dir() and not path.is_symlink():
                    shutil.rmtree(path)
                else:
                    path.unlink(missing_ok=True)
            self.folder.mkdir(parents=True, exist_ok=True)
            facts = {"script": self._script, "kind": self.kind, "settings": self._settings}
            (self.folder / SETTINGS).write_text(json.dumps(facts, indent=2) + "\n")
        self.begun = True

    def seconds(self) -> float:
        """How long the run has taken until now, including earlier, interrupted processes.

        Call it after each checkpoint: an interrupted process counts up to its last call.
        """
        total = self._earlier + time.perf_counter() - self._start
        (self.folder / CLOCK).write_text(f"{total:.1f}\n")
        return total

    def finish(self, *, input_spec: InputSpec, **facts: object) -> None:
        """Write `run.json`, which says that the run is finished, and remove its checkpoints."""
        write_facts(self.folder, input_spec=input_spec, seconds=round(self.seconds(), 1), **facts)
        (self.folder / CLOCK).unlink()
        # safetensors gives the right to read its files to their owner alone.
        mode = stat.S_IMODE((self.folder / FILE).stat().st_mode)
        for weights in self.folder.glob("*.safetensors"):
            weights.chmod(mode)
        for folder in (CHECKPOINTS, BACKUP):
            shutil.rmtree(self.folder / folder, ignore_errors=True)

    def __enter__(self) -> "Run":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if kind is KeyboardInterrupt and self.begun and self.kind == "run":
            raise Interrupted(f"{self.folder} was interrupted.") from None


class TimeLeft:
    """Predicts after each epoch how long the rest of the run will take."""

    def __init__(self, epochs: int, done: int = 0) -> None:
        self.epochs, self._done = epochs, done
        self._start = time.perf_counter()

    def after(self, epoch: int) -> str:
        """The message after an epoch, counted from 1."""
        seconds = (time.perf_counter() - self._start) / max(epoch - self._done, 1)
        rest = seconds * (self.epochs - epoch)
        if not rest:
            return f"epoch {epoch} of {self.epochs}"
        minutes, hours = round(rest / 60), rest / 3600
        left = f"{rest:.0f} s" if rest < 100 else f"{minutes} min"
        if hours > 2:
            left = f"{hours:.1f} h"
        return f"epoch {epoch} of {self.epochs}, about {left} left"


def _change(name: str, before: object, now: object) -> str:
    """A setting with which a run was begun, and the changed one, in words."""
    option = f"--{name.replace('_', '-')}"
    if before is None:
        return f"no {option} and not with {option} {_word(now)}"
    return f"{option} {_word(before)} and not {'without it' if now is None else _word(now)}"


def _word(value: object) -> str:
    return json.dumps(value) if isinstance(value, dict | list | bool) else str(value)


def _script_of(folder: Path) -> str | None:
    """Name of the script whose run a folder is, if it is one."""
    with suppress(OSError, KeyError, TypeError, ValueError):
        return str(json.loads((folder / SETTINGS).read_text())["script"])
    with suppress(OSError, KeyError, TypeError, ValueError):  # finished before there were settings
        told = json.loads((folder / FILE).read_text())["command"]
        if found := re.search(r"\btraining\.(\w+)", told):
            return found[1]
    return None


def write_facts(run: Path, /, *, input_spec: InputSpec, **facts: object) -> None:
    """Write `run.json`: the facts, and what every run states.

    That is the input specification, the command and the Python version.
    """
    everything = {
        **facts,
        "input": asdict(input_spec),
        "command": command(),
        "python": platform.python_version(),
    }
    (run / FILE).write_text(json.dumps(everything, indent=2) + "\n")


def read_facts(folder: Path) -> dict[str, Any]:
    """Read what `write_facts` wrote; the input specification is an `InputSpec` again.

    Raises
    ------
    RunError
        When it cannot be read.
    """
    try:
        facts = json.loads((folder / FILE).read_text())
        return {**facts, "input": InputSpec(**facts["input"])}
    except (FileNotFoundError, NotADirectoryError):
        raise RunError(f"{folder} is not a finished training run: it has no {FILE}.") from None
    except (OSError, KeyError, TypeError, ValueError) as error:
        raise RunError(
            f"{folder} is not a finished training run: its {FILE} cannot be used ({error!r})."
        ) from error


def facts_of(card: Card) -> dict[str, Any]:
    """A model's facts from its card, as of a run: those of its training, its task and labels."""
    return {**card.facts["training"], "task": card.task, "labels": card.facts["labels"]}


def trained_on(facts: Mapping[str, Any]) -> str:
    """What part of its data set a run was trained on, in words."""
    return TRAINED_ON[facts.get("split", "official")]


def read_history(path: Path) -> list[dict[str, float]]:
    """Rows of a `history.csv`, one per epoch, without the columns that are not numeric."""
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
    """The command line of this process as `python -m package.module options`.

    It leaves out `--resume` and `--overwrite`, and so reproduces the result in a new folder.
    """
    main = sys.modules["__main__"]
    spec = getattr(main, "__spec__", None)
    program = f"-m {spec.name}" if spec else sys.argv[0]
    return shlex.join(["python", *program.split(), *without_folder_options(sys.argv[1:])])
