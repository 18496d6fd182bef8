"""What all command lines of `training/` share: help with defaults, errors in one sentence."""

import argparse
import json
import os
import shlex
import shutil
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NoReturn

from models import commandline
from models.cards import ModelError
from training.errors import Interrupted, UserError


class HelpFormatter(argparse.RawDescriptionHelpFormatter):
    """Leaves the description unchanged, and shows each option's default."""

    def _get_help_string(self, action: argparse.Action) -> str | None:
        text = action.help
        shown = isinstance(action.default, bool | int | float | str | os.PathLike)
        told = isinstance(action, argparse._StoreTrueAction) or "%(default)" in (text or "")
        if shown and not told and action.default not in ("", argparse.SUPPRESS):
            return f"{text} (default: %(default)s)" if text else "(default: %(default)s)"
        return text


def parser(description: str | None) -> argparse.ArgumentParser:
    """A command line that explains itself with its module's docstring."""
    return argparse.ArgumentParser(description=description, formatter_class=HelpFormatter)


def json_object(text: str) -> dict[str, Any]:
    """Read an option's JSON object."""
    try:
        value = json.loads(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"{text!r} is not JSON ({error})") from None
    if not isinstance(value, dict):
        raise argparse.ArgumentTypeError(f"{text!r} is not a JSON object, such as {{}}")
    return value


def positive(text: str) -> int:
    """Read an option's whole number, 1 or more."""
    if not text.strip().isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number, 1 or more")
    return int(text)


def positive_float(text: str) -> float:
    """Read an option's number above 0."""
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if not 0 < value < float("inf"):
        raise argparse.ArgumentTypeError(f"{text!r} is not a number above 0")
    return value


def share(text: str) -> float:
    """Read an option's number from 0 to 1."""
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0 <= value <= 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number from 0 to 1")
    return value


def without_folder_options(words: Sequence[str]) -> list[str]:
    """A training's options without those about an existing run in its folder."""
    return [word for word in words if word not in ("--resume", "--overwrite")]


def python() -> str:
    """What to type in this shell to get the running Python, such as `.venv/bin/python`."""
    here = Path(sys.executable)
    found = shutil.which("python")
    if found and Path(found) == here:
        return "python"
    return str(here.relative_to(Path.cwd()) if here.is_relative_to(Path.cwd()) else here)


def run(main: Callable[[], object]) -> NoReturn:
    """Run a script's `main`; report an error that the user can fix, or Ctrl-C, in one sentence.

    Exit codes: 0; 1 for a user's error; those of `models.commandline` for Ctrl-C and a closed pipe.
    """
    commandline.run(lambda: _sentence(main))


def _sentence(main: Callable[[], object]) -> int:
    try:
        main()
    except (UserError, ModelError) as error:
        print(error, file=sys.stderr)
        return 1
    except BrokenPipeError:
        raise
    except OSError as error:  # such as a full disk, or a folder that may not be written to
        where = error.filename or "Reading or writing"
        print(f"{where}: {error.strerror or error}.", file=sys.stderr)
        return 1
    except Interrupted as stopped:
        words = without_folder_options(sys.argv[1:])
        script = getattr(sys.modules["__main__"].__spec__, "name", sys.argv[0])
        again = shlex.join([python(), "-m", script, *words, "--resume"])
        print(f"\n{stopped} Go on with: {again}", file=sys.stderr)
        return commandline.INTERRUPTED
    return 0
