"""Downloads models from the Hugging Face Hub into its cache, and checks them there.

python -m models.hub OWNER/REPO@REVISION    # download it now, without a time limit
"""

from models import commandline

if __name__ == "__main__":
    commandline.quiet_interrupts()

import argparse
import logging
import os
import re
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path

from models import cards
from models.cards import ModelError
from models.errors import one_line

REPOSITORY = re.compile(r"(?P<repo>[\w.-]+/[\w.-]+)(@(?P<revision>[\w./-]+))?", re.ASCII)
COMMIT = re.compile(r"[0-9a-f]{40}")

# The app starts only when its models are there, so a download that adds fewer than PROGRESS bytes
# to the cache in PATIENCE seconds is given up. `huggingface_hub` itself waits for a first answer
# without a limit, and retries for minutes. It writes 10 MB at a time.
PATIENCE = 15.0
PROGRESS = 1_000_000
ANSWER_TIMEOUT = 6

logger = logging.getLogger(__name__)


class HubError(Exception):
    """Why a repository's models are not available, as a part of a sentence."""


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
    found = cards.names_in(folder)
    for name in found:
        try:
            cards.read_network(cards.read(name, folder), folder)
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

    command = [sys.executable, "-m", "models.hub", *(["--again"] if again else []), "--", name]
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


def reason(error: Exception) -> str:
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
    return one_line(error)


def main(words: Sequence[str] | None = None) -> None:
    """Download a repository's models into the cache and print their folder."""
    parser = argparse.ArgumentParser(prog="python -m models.hub", description=main.__doc__)
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
        raise SystemExit(reason(error)) from error


if __name__ == "__main__":
    commandline.run(main)
