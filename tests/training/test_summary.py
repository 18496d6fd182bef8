import json
from pathlib import Path

import pytest

import documents
from training import summary

ROOT = Path(__file__).parents[2]


def test_the_readme_has_the_rows_of_the_cards() -> None:
    path = documents.find(summary.START)

    assert path == ROOT / "README.md"
    assert f"{summary.START}\n{summary.table()}\n{summary.END}" in path.read_text()


@pytest.mark.parametrize("path", sorted((ROOT / "models" / "weights").glob("*.json")), ids=str)
def test_each_embedded_model_has_a_row_with_its_figures(path: Path) -> None:
    test = json.loads(path.read_text())["metrics"]["test"]

    row = next(line for line in summary.table().splitlines() if f"`{path.stem}`" in line)

    assert f"{test['pictures']:,} pictures" in row
    assert f"`{test['command']}`" in row
    measured = row.split("|")[2].strip()
    assert measured, "none of the card's figures is shown"


def test_figures_are_those_of_the_card() -> None:
    breeds = json.loads((ROOT / "models" / "weights" / "breeds.json").read_text())
    top1 = 100 * breeds["metrics"]["test"]["top1"]

    [row] = [line for line in summary.table().splitlines() if "top-1" in line]

    assert f"top-1 {top1:.1f}%" in row
