"""Pictures that the test split has from trainval, on made ones."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from training import duplicates, pets
from training.duplicates import Duplicate


def blurred_noise(seed: int, side: int = 96) -> Image.Image:
    """A picture unlike that of any other seed."""
    coarse = np.random.default_rng(seed).integers(0, 256, (7, 7, 3), np.uint8)
    return Image.fromarray(coarse).resize((side, side), Image.Resampling.BICUBIC)


@pytest.fixture
def examples(tmp_path: Path) -> list[pets.Example]:
    pictures = [blurred_noise(seed) for seed in range(6)]
    pictures.append(pictures[2].resize((60, 50)))  # another size
    pictures.append(pictures[3].transpose(Image.Transpose.FLIP_LEFT_RIGHT))
    pictures.append(pictures[4].point(lambda value: value * 0.8 + 20))  # paler
    examples = []
    for number, picture in enumerate(pictures):
        file = tmp_path / f"{number}.jpg"
        picture.save(file, quality=80)
        examples.append(pets.Example(file.stem, file, file, 0))
    return examples


def test_a_picture_is_found_again_in_another_size_mirrored_and_paler(
    examples: list[pets.Example],
) -> None:
    copies = duplicates.gray_copies(examples)

    found = duplicates.find(copies[5:], copies[:5])

    assert {number: other for number, (other, _) in found.items()} == {1: 2, 2: 3, 3: 4}
    assert all(0.95 < correlation <= 1.0001 for _, correlation in found.values())


def test_the_list_is_read_as_it_was_written(tmp_path: Path) -> None:
    listed = [Duplicate("b", "a", 1.0), Duplicate("a", "c", 0.951)]

    duplicates.write(listed, tmp_path / "list.csv")

    assert duplicates.read(tmp_path / "list.csv") == sorted(listed, key=lambda each: each.test)


def test_the_committed_list_names_pairs_of_one_breed() -> None:
    listed = duplicates.read()

    assert len({each.test for each in listed}) == len(listed) > 0
    for each in listed:
        assert each.test.rpartition("_")[0] == each.trainval.rpartition("_")[0]
