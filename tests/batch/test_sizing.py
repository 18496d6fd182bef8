from pathlib import Path

import pytest

from batch import sizing


@pytest.mark.parametrize(
    ("photos", "cores", "size"), [(60, 2, 3), (450, 2, 22), (5, 2, 1), (1_000_000, 64, 100)]
)
def test_every_core_gets_several_parts_if_there_are_enough_photos(
    photos: int, cores: int, size: int
) -> None:
    assert sizing.part_size(photos, cores) == size
    assert photos / size >= min(photos, sizing.PARTS_A_CORE * cores)


def test_a_folder_without_photos_is_reported_in_one_sentence(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert sizing.main([str(tmp_path)]) == 1
    assert capsys.readouterr().err.startswith("There are no photos in ")
