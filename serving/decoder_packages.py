"""Packages for the decoders only, newer than Gradio allows in the app's own process.

    python -m serving.decoder_packages    # part of the set-up

They are in a folder beside the virtual environment, or in the user's cache if that is not writable.
A Space of the Hugging Face Hub installs only requirements.txt, so there the app downloads them when
it starts.
"""

import subprocess
import sys
from importlib.metadata import Distribution, distributions
from pathlib import Path

NAME, FIRST, BELOW = "pillow", 13, 14  # major versions
SECONDS = 120.0  # seconds for the download
FOLDERS = (
    Path(sys.prefix) / "petscope-decoders",
    Path.home() / ".cache" / "petscope" / f"decoders-{sys.implementation.cache_tag}",
)


def find() -> Path | None:
    """The folder of the packages, if they are there in the required versions."""
    return next((folder for folder in FOLDERS if _fits(folder)), None)


def _fits(folder: Path) -> bool:
    found: list[Distribution] = list(distributions(name=NAME, path=[str(folder)]))
    return any(FIRST <= int(each.version.split(".")[0]) < BELOW for each in found)


def install() -> Path | None:
    """Download the packages unless they are there; return their folder, or None if that fails."""
    if found := find():
        return found
    for folder in FOLDERS:
        command = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--upgrade"]
        command += ["--disable-pip-version-check", "--only-binary=:all:", "--target", str(folder)]
        try:
            subprocess.run(  # noqa: S603 -- our own words
                [*command, f"{NAME}>={FIRST},<{BELOW}"],
                check=True,
                timeout=SECONDS,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
            )
        except (OSError, subprocess.SubprocessError):
            continue
        if _fits(folder):
            return folder
    return None


def main() -> None:
    """Download the packages."""
    if install() is None:
        sys.exit(
            f"The decoders' {NAME} {FIRST} could not be installed: they will use the app's own."
        )


if __name__ == "__main__":
    main()
