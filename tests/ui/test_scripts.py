"""Browsers get scripts without the comments."""

import shutil
import subprocess
from pathlib import Path

import pytest

from ui.scripts import script

FOLDER = Path(__file__).parents[2] / "ui"
NAMES = sorted(path.stem for path in FOLDER.glob("*.js"))


@pytest.mark.parametrize("name", NAMES)
def test_a_script_is_sent_without_what_is_for_people(name: str) -> None:
    assert len(script(name)) < 0.9 * len((FOLDER / f"{name}.js").read_text())


@pytest.mark.skipif(not shutil.which("node"), reason="needs Node")
@pytest.mark.parametrize("name", NAMES)
def test_a_script_is_still_one(name: str, tmp_path: Path) -> None:
    """Gradio runs some of them as a function's body."""
    (tmp_path / "script.js").write_text(f"(element, props, trigger) => {{\n{script(name)}\n}}")
    subprocess.run(["node", "--check", tmp_path / "script.js"], check=True)
