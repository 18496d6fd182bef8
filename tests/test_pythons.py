"""The app on other Pythons than the one that runs these tests, where they are installed."""

import json
from pathlib import Path

import pytest

from bench import visitors
from bench.page_visitor import PageVisitor, PhotoEvent
from tests import pythons

CAT = Path(__file__).parent.parent / "examples" / "cat_chelsea.png"


@pytest.mark.parametrize("version", pythons.VERSIONS)
def test_the_app_starts_is_well_and_answers_on_its_page(version: str, tmp_path: Path) -> None:
    if not (pythons.folder(version) / pythons.DONE).is_file():
        pytest.skip(f"`python tests/pythons.py` has set up no Python {version} beside this one")
    python = pythons.folder(version) / "bin" / "python"

    with visitors.served(tmp_path / "log", python=python) as (port, _):
        status, health = visitors.get(port, "/healthz")
        visitor = PageVisitor(port, "192.0.2.1", PhotoEvent.of(port))
        picture = visitor.show(CAT.read_bytes())
        visitor.close()

    assert (status, json.loads(health)["ready"]) == (200, True)
    assert picture.startswith(b"\xff\xd8\xff")
