"""Objects found and measured: the same for the page, for programs and on the command line."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from numpy.typing import NDArray
from PIL import Image
from skimage.measure import regionprops_table

from models import segmentation
from models.images import open_picture
from models.micrographs import describe, examine
from models.stains import micrograph

ROOT = Path(__file__).parents[2]
PHOTOS = ROOT.parent / "shared" / "photos"
COLORS = ("red", "green", "blue", "yellow", "cyan", "magenta")


def test_the_objects_are_described_in_the_numbers_of_the_file(tmp_path: Path) -> None:
    """Held against scikit-image on the file's own values."""
    gray = np.asarray(Image.open(ROOT / "examples" / "nuclei.png"))[:200, :260]
    deep = gray.astype(np.uint16) * 16
    tifffile.imwrite(
        tmp_path / "deep.tif", deep, imagej=True, resolution=(2, 2), metadata={"unit": "um"}
    )

    examined = examine(open_picture(tmp_path / "deep.tif"), segmentation.load("nuclei"))

    described = describe(examined)
    wanted = ("label", "area", "centroid", "intensity_mean", "intensity_max")
    table = regionprops_table(examined.found.numbers, deep, properties=wanted)
    assert described["count"] == len(table["label"]) > 10
    for row, number in zip(described["objects"], range(described["count"]), strict=True):
        assert row["area"] == table["area"][number]
        assert row["area_um2"] == pytest.approx(row["area"] / 4)
        assert row["centroid_y"] == pytest.approx(table["centroid-0"][number], abs=1e-3)
        assert row["mean_intensity"] == pytest.approx(table["intensity_mean"][number], abs=1e-3)
        assert row["max_intensity"] == table["intensity_max"][number]


def written(gray: NDArray[np.uint8], folder: Path) -> Iterator[Path]:
    """A grey picture in all depths, byte orders and colours."""
    deep = gray.astype(np.uint16)
    kinds: dict[str, tuple[NDArray[Any], dict[str, Any]]] = {
        "8": (gray, {}),
        "10": (deep * 4, {}),
        "12": (deep * 16, {}),
        "12-big": (deep * 16, {"byteorder": ">", "compression": "zlib"}),
        "12-packed": (deep * 16, {"bitspersample": 12}),
        "12-range": (deep * 16, {"imagej": True, "metadata": {"min": 0, "max": 4095}}),
        "14": (deep * 64, {}),
        "16": (deep * 257, {}),
        "16-big": (deep * 257, {"byteorder": ">"}),
        "float": (deep.astype(np.float32) * 16, {}),
        "float-big": (deep.astype(np.float32) * 16, {"byteorder": ">", "compression": "lzw"}),
        "float-to-1": ((gray / 255).astype(np.float32), {}),
    }
    for name, (values, options) in kinds.items():
        tifffile.imwrite(folder / f"{name}.tif", values, **options)
        yield folder / f"{name}.tif"
    for index, name in enumerate(COLORS):
        channels = ((0,), (1,), (2,), (0, 1), (1, 2), (0, 2))[index]
        colored = np.zeros((*gray.shape, 3), np.uint8)
        colored[:, :, channels] = gray[:, :, np.newaxis]
        Image.fromarray(colored).save(folder / f"{name}.png")
        yield folder / f"{name}.png"


@pytest.mark.realdata
@pytest.mark.skipif(not PHOTOS.is_dir(), reason="needs ../shared/photos")
@pytest.mark.parametrize("name", ["nuclei_fluorescence.png", "nuclei_he_purple.png"])
def test_a_real_picture_has_the_same_count_in_any_depth_and_colour(
    name: str, tmp_path: Path
) -> None:
    gray = np.asarray(Image.open(PHOTOS / name).convert("L"))
    network = segmentation.load("nuclei")
    counts: dict[str, int] = {}
    answers: dict[bytes, int] = {}  # what a network sees alike, it need not see twice

    for path in written(gray, tmp_path):
        picture = open_picture(path)
        seen = micrograph(picture).tobytes()
        if seen not in answers:
            answers[seen] = len(examine(picture, network).objects)
        counts[path.name] = answers[seen]

    expected = counts["8.tif"]
    assert expected > 10
    assert all(abs(count - expected) <= expected / 100 for count in counts.values()), counts
