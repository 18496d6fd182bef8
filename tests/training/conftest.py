import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import training.torchvision_ops  # noqa: F401  (before any test imports timm)
from training import pets

BREEDS = {"Siamese": 1, "beagle": 2, "pug": 2, "Bengal": 1, "boxer": 2, "Persian": 1}
PICTURES_A_BREED = 9


@pytest.fixture(scope="session")
def tiny_pets(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A synthetic data set in the official layout: bright ellipses ("pets") on dark backgrounds."""
    root = tmp_path_factory.mktemp("pets")
    (root / "images").mkdir()
    (root / "annotations" / "trimaps").mkdir(parents=True)
    random = np.random.default_rng(0)
    lines: dict[str, list[str]] = {"trainval": [], "test": []}
    y, x = np.mgrid[:90, :120]
    for class_id, (breed, species) in enumerate(BREEDS.items(), start=1):
        for number in range(1, PICTURES_A_BREED + 1):
            name = f"{breed}_{number}"
            distance = np.hypot(
                (y - random.integers(35, 55)) / 25, (x - random.integers(45, 75)) / 35
            )
            photo = random.integers(0, 60, (90, 120, 3), dtype=np.uint8)
            photo[distance < 1, class_id % 3] += 180
            Image.fromarray(photo).save(root / "images" / f"{name}.jpg", quality=95)
            trimap = np.select([distance < 0.9, distance > 1.1], [1, 2], 3).astype(np.uint8)
            Image.fromarray(trimap).save(root / "annotations" / "trimaps" / f"{name}.png")
            line = f"{name} {class_id} {species} {class_id}"
            lines["test" if number % 3 == 0 else "trainval"].append(line)
    for split, entries in lines.items():
        (root / "annotations" / f"{split}.txt").write_text("\n".join(entries) + "\n")
    everything = ["#Image CLASS-ID SPECIES BREED ID", *lines["trainval"], *lines["test"]]
    (root / "annotations" / "list.txt").write_text("\n".join(everything) + "\n")
    (root / ".complete").touch()
    return root


REAL_ARCHIVES = Path(__file__).parents[3] / "shared" / "oxford-iiit-pet"


@pytest.fixture(scope="session")
def real_root(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    if not REAL_ARCHIVES.is_dir():
        pytest.skip("../shared/oxford-iiit-pet is not beside the repository")
    root = tmp_path_factory.mktemp("oxford-iiit-pet")
    yield pets.prepare(root, REAL_ARCHIVES)
    shutil.rmtree(root)
