"""The app's settings: one object, made from the command line and the environment, and passed on."""

import argparse
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields


class CannotStart(Exception):  # noqa: N818 -- it says what happened
    """The app cannot be served; its text is one sentence for the person who starts it."""


@dataclass(frozen=True)
class Settings:
    """What the person who starts the app decides.

    Attributes
    ----------
    host
        Address to listen on; None for this machine only.
    port
        Port to listen on.
    models
        Folder of models, or `OWNER/REPO[@REVISION]` on the Hub; None for the built-in ones.
    max_megabytes, max_megapixels
        The largest photo, as a file and decoded.
    max_waiting
        How many answers may wait in the queue.
    per_minute
        How many answers and uploads one client may request per minute, in the long run.
    keep_minutes
        How many minutes uploads and results are kept after their last use.
    behind_proxy
        How many proxies all visitors come through; each sets `X-Forwarded-For`.
    share
        Whether to open a public link through gradio.live.
    feedback
        Where photos are kept that visitors correct and agree to have kept: a folder, or
        `hf://datasets/OWNER/NAME`; None for nowhere.
    """

    host: str | None = None
    port: int = 7860
    models: str | None = None
    max_megabytes: float = 25
    max_megapixels: float = 50
    max_waiting: int = 100
    per_minute: int = 600
    keep_minutes: float = 10
    behind_proxy: int = 0
    share: bool = False
    feedback: str | None = None

    @property
    def photo_bytes(self) -> int:
        """Size of the largest photo's file."""
        return int(self.max_megabytes * 1_000_000)

    @property
    def photo_pixels(self) -> int:
        """Pixels of the largest photo."""
        return int(self.max_megapixels * 1_000_000)

    @property
    def keep_seconds(self) -> float:
        """How many seconds uploads and results are kept after their last use."""
        return 60 * self.keep_minutes


def _count(text: str) -> int:
    if not text.isdecimal():
        raise argparse.ArgumentTypeError("it must be a whole number, 0 or more")
    return int(text)


def parse(words: Sequence[str] | None = None, description: str | None = None) -> Settings:
    """Read the command line and the environment; an option wins over its variable."""
    parser = argparse.ArgumentParser(
        description=description, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    in_space = "SPACE_ID" in os.environ  # of the Hugging Face Hub
    defaults = Settings(behind_proxy=int(in_space))

    def add(name: str, help: str, kind: Callable[[str], object] = str) -> None:
        variable = f"PETSCOPE_{name.upper()}"
        default = getattr(defaults, name)
        parser.add_argument(
            f"--{name.replace('_', '-')}",
            # argparse converts a default given as text, but only if it is used.
            default=os.environ.get(variable, default),
            type=kind,
            help=f"{help} (${variable})",
        )

    add("host", "address to listen on; 0.0.0.0 for all")
    add("port", "port to listen on", int)
    add("models", "folder of models, or OWNER/REPO[@REVISION] on the Hub")
    add("max_megabytes", "largest photo, in MB", float)
    add("max_megapixels", "largest photo, in megapixels", float)
    add("max_waiting", "most answers that may wait in the queue", int)
    add("per_minute", "answers and uploads that one visitor may request per minute", int)
    add("keep_minutes", "minutes after their last use until files are deleted", float)
    add(
        "behind_proxy",
        "1 if all visitors come through a proxy that sets X-Forwarded-For; 2, 3, ... for that "
        "many in a row, if visitors' own addresses are private",
        _count,
    )
    add(
        "feedback",
        "let visitors say what is wrong, and keep the photos that they agree to: in this folder, "
        "or in a data set of the Hub as hf://datasets/OWNER/NAME",
    )
    parser.add_argument(
        "--share", action="store_true", help="open a public link through gradio.live"
    )
    found = vars(parser.parse_args(words))
    # A public link is a proxy too.
    found["behind_proxy"] = max(found["behind_proxy"], int(found["share"]))
    return Settings(**{field.name: found[field.name] for field in fields(Settings)})
