from pathlib import Path

import numpy as np
import pytest

from training import edges, pets


def test_the_outline_runs_in_the_middle_of_the_border() -> None:
    trimap = np.repeat(np.array([[1, 1, 3, 3, 3, 3, 2, 2]], np.uint8), 5, axis=0)

    outline = edges.outline_in_the_middle(trimap)

    assert outline.tolist() == [[True] * 4 + [False] * 4] * 5


def test_each_way_to_the_photo_s_size_gets_a_line(
    tiny_pets: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    held_out = [example.name for example in pets.split(tiny_pets, "validation")]
    names = tmp_path / "names.txt"
    names.write_text(f"{held_out[0]}\n")

    for words, count in (([], len(held_out)), (["--names", str(names)], 1)):
        edges.main(["pet", "--root", str(tiny_pets), *words])

        pictures, _, _, _, *rows = capsys.readouterr().out.splitlines()
        assert pictures == f"{count} pictures"
        cells = [[cell.strip() for cell in row.strip("|").split("|")] for row in rows]
        assert [name for name, *_ in cells] == ["nearest", "bilinear", "refined"]
        assert all(0 <= float(score) <= 1 for _, *scores in cells for score in scores)
