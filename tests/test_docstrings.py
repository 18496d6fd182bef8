"""The examples in docstrings give the results that they show."""

import doctest
import importlib
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent


def modules_with_examples() -> list[str]:
    """Names of the modules whose docstrings hold examples."""
    paths = [
        path
        for package in ("models", "batch", "serving", "ui", "training", "bench")
        for path in sorted((ROOT / package).rglob("*.py"))
        if ">>> " in path.read_text()
    ]
    return [".".join(path.relative_to(ROOT).with_suffix("").parts) for path in paths]


@pytest.mark.parametrize("name", modules_with_examples())
def test_examples_give_what_they_show(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)  # they open pictures of examples/

    failed, tried = doctest.testmod(importlib.import_module(name))

    assert tried > 0, "the examples stand where doctest does not look"
    assert failed == 0


def test_a_wrong_example_would_be_found(capsys: pytest.CaptureFixture[str]) -> None:
    parser = doctest.DocTestParser()
    wrong = parser.get_doctest(">>> 1 + 1\n3\n", {}, "wrong", None, None)

    assert doctest.DocTestRunner().run(wrong).failed == 1
    assert "Expected:\n    3\nGot:\n    2" in capsys.readouterr().out
