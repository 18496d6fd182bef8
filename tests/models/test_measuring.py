"""Measurements of objects, against hand-made references and scikit-image."""

import csv
import io

import numpy as np
import pytest
from skimage.draw import disk, ellipse
from skimage.measure import label, regionprops, regionprops_table

from models.measuring import STATISTICS, area_histogram, iou, measure_objects


def test_a_rectangle_and_a_pixel_are_measured_as_by_hand() -> None:
    instances = np.zeros((20, 30), np.int32)
    instances[4:8, 10:20] = 1
    instances[15, 3] = 2

    objects = measure_objects(instances)

    assert len(objects) == 2
    assert objects.number.tolist() == [1, 2]
    assert objects.area.tolist() == [40, 1]
    assert objects.area.dtype == np.int64
    assert objects.centroid_x.tolist() == [14.5, 3]
    assert objects.centroid_y.tolist() == [5.5, 15]
    assert (objects.left[0], objects.top[0]) == (10, 4)
    assert (objects.right[0], objects.bottom[0]) == (20, 8)
    np.testing.assert_allclose(objects.equivalent_diameter, 2 * np.sqrt(np.array([40, 1]) / np.pi))
    # A rectangle's second moments are its squared sides over 12; regionprops adds a pixel's 1/12.
    minor, major = 4**2, 10**2
    assert objects.eccentricity[0] == pytest.approx(np.sqrt(1 - minor / major), abs=0.01)
    assert objects.eccentricity[1] == 0


def test_a_disc_is_round_and_an_ellipse_is_not() -> None:
    instances = np.zeros((200, 300), np.int32)
    instances[disk((60, 60), 40)] = 1
    instances[ellipse(120, 200, 30, 60)] = 2

    objects = measure_objects(instances)

    assert objects.equivalent_diameter[0] == pytest.approx(80, abs=1)
    assert objects.eccentricity[0] < 0.05
    assert objects.eccentricity[1] == pytest.approx(np.sqrt(1 - 0.5**2), abs=0.01)


def test_measurements_are_those_of_scikit_image() -> None:
    instances = label(np.random.default_rng(0).random((80, 60)) > 0.6).astype(np.int32)

    objects = measure_objects(instances)

    regions = regionprops(instances)
    assert len(objects) == instances.max() == len(regions)
    for index in range(0, len(regions), 7):
        region = regions[index]
        assert objects.number[index] == region.label
        assert objects.area[index] == np.count_nonzero(instances == region.label) == region.area
        assert (objects.centroid_y[index], objects.centroid_x[index]) == region.centroid
        box = (objects.top[index], objects.left[index], objects.bottom[index], objects.right[index])
        assert box == region.bbox
        assert objects.eccentricity[index] == region.eccentricity


def test_the_csv_holds_a_row_an_object() -> None:
    instances = np.zeros((20, 30), np.int32)
    instances[4:8, 10:20] = 1
    instances[12:15, 2:5] = 2

    text = measure_objects(instances).csv()

    rows = list(csv.DictReader(io.StringIO(text)))
    assert [row["number"] for row in rows] == ["1", "2"]
    assert [row["area"] for row in rows] == ["40", "9"]
    assert (rows[0]["centroid_x"], rows[0]["centroid_y"]) == ("14.5", "5.5")
    assert [rows[1][edge] for edge in ("left", "top", "right", "bottom")] == ["2", "12", "5", "15"]
    assert rows[1]["equivalent_diameter"] == "3.385"
    assert text.count("\r\n") == 3


def test_the_csv_is_scikit_images_table() -> None:
    """But for rounding, and for the circularity, which it does not have."""
    random = np.random.default_rng(1)
    instances = label(random.random((80, 60)) > 0.6).astype(np.int32)
    values = random.integers(0, 4096, instances.shape).astype(np.uint16)
    names = {
        "number": "label",
        "area": "area",
        "centroid_x": "centroid-1",
        "centroid_y": "centroid-0",
        "left": "bbox-1",
        "bottom": "bbox-2",
        "perimeter": "perimeter",
        "eccentricity": "eccentricity",
        "equivalent_diameter": "equivalent_diameter_area",
        "mean_intensity": "intensity_mean",
        "min_intensity": "intensity_min",
        "max_intensity": "intensity_max",
    }
    wanted = {name.partition("-")[0] for name in names.values()}
    table = regionprops_table(instances, values, properties=sorted(wanted))

    rows = list(csv.DictReader(io.StringIO(measure_objects(instances, values).csv())))

    for ours, theirs in names.items():
        written = [float(row[ours]) for row in rows]
        np.testing.assert_allclose(written, table[theirs], atol=6e-4, err_msg=ours)


def test_nothing_found_is_measured_as_nothing() -> None:
    objects = measure_objects(np.zeros((5, 7), np.int32))

    assert len(objects) == 0
    assert objects.csv().count("\r\n") == 1


@pytest.mark.parametrize("areas", [[1], [7, 7, 7], [1, 2, 3], list(range(1, 500)), [4, 90_000]])
def test_every_object_falls_into_one_bin_of_the_histogram(areas: list[int]) -> None:
    counts, edges = area_histogram(np.array(areas))

    assert counts.sum() == len(areas)
    assert len(edges) == len(counts) + 1
    assert (edges[0], edges[-1]) == (0, max(areas))
    for count, low, high in zip(counts[:-1], edges[:-1], edges[1:], strict=False):
        assert count == sum(low <= area < high for area in areas)


def test_iou_is_the_shared_part_of_both_masks() -> None:
    first, second = np.zeros((4, 10), np.bool_), np.zeros((4, 10), np.bool_)
    assert iou(first, second) == 1
    first[:, :6] = True
    assert iou(first, second) == 0
    second[:, 4:] = True
    assert iou(first, second) == pytest.approx(2 / 10)
    assert iou(first, first) == 1


def test_intensities_are_those_of_the_file_for_each_channel() -> None:
    instances = np.zeros((30, 40), np.int32)
    instances[disk((12, 12), 8)] = 1
    instances[disk((15, 30), 6)] = 2
    values = np.random.default_rng(0).integers(0, 65536, (30, 40, 2)).astype(np.uint16)

    grey = measure_objects(instances, values[:, :, 0])
    both = measure_objects(instances, values, ("DAPI", ""), (0.5, 2.0))

    np.testing.assert_array_equal(grey.intensities["intensity"], both.intensities["DAPI"])
    for index, name in enumerate(("DAPI", "channel_2")):
        for number in (1, 2):
            inside = values[instances == number, index]
            expected = inside.mean(), inside.min(), inside.max()
            np.testing.assert_allclose(both.intensities[name][number - 1], expected)
    np.testing.assert_array_equal(both.area_um2, both.area)
    header = both.csv().splitlines()[0].split(",")
    assert header[-7:] == [
        "area_um2",
        *(f"{k}_{c}" for c in ("DAPI", "channel_2") for k in STATISTICS),
    ]


def test_circularity_is_one_for_a_disc() -> None:
    instances = np.zeros((300, 300), np.int32)
    instances[disk((90, 90), 80)] = 1
    instances[200:204, 20:280] = 2
    instances[280, 5] = 3

    found = measure_objects(instances).circularity

    assert found[0] == pytest.approx(1, abs=0.12)
    assert found[1] < 0.1
    assert found[2] == 1
