"""Set the app up on every other Python that is installed and that it supports.

    python tests/pythons.py

`make test` runs it, and `tests/test_pythons.py` starts the app on what it leaves. What is there
already is left as it is, until a requirement changes.
"""

import hashlib
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parent.parent
VERSIONS = ("3.11", "3.12", "3.13")
DONE = "requirements.sha256"
REQUIREMENTS = ROOT / "requirements-cpu.txt"


def folder(version: str) -> Path:
    """The virtual environment of a Python, which is there once it is set up."""
    return ROOT / ".venv" / "pythons" / version


def installed(version: str) -> Path | None:
    """A Python of this version, of the system or of pyenv."""
    found = shutil.which(f"python{version}")
    candidates = [Path(found)] if found else []
    candidates += sorted((Path.home() / ".pyenv" / "versions").glob(f"{version}.*/bin/python"))
    return next((path for path in candidates if _runs(path, version)), None)


def _runs(python: Path, version: str) -> bool:
    """Whether it is what it is called: pyenv puts scripts of all versions on the path."""
    said = "import sys, venv, ensurepip; print('%d.%d' % sys.version_info[:2])"
    answer = subprocess.run([python, "-c", said], capture_output=True, text=True, check=False)
    return answer.stdout.strip() == version


def set_up(version: str, python: Path) -> None:
    """Install the app's requirements for a Python, if that is not done."""
    target, wanted = folder(version), hashlib.sha256(REQUIREMENTS.read_bytes()).hexdigest()
    done = target / DONE
    if done.is_file() and done.read_text() == wanted:
        return
    shutil.rmtree(target, ignore_errors=True)
    subprocess.run([python, "-m", "venv", target], check=True)
    pip: list[str | Path] = [
        target / "bin" / "python",
        "-m",
        "pip",
        "install",
        "--disable-pip-version-check",
    ]
    subprocess.run([*pip, "--quiet", "--no-compile", "-r", REQUIREMENTS], check=True)
    done.write_text(wanted)


def main() -> None:
    """Set up all that can be."""
    own = "{}.{}".format(*sys.version_info)
    for version in VERSIONS:
        if version != own and (python := installed(version)):
            set_up(version, python)


if __name__ == "__main__":
    main()
