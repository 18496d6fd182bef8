"""Files of objects, read with the libraries that other programs use."""

import io
import json
import zipfile

import numpy as np
import pytest
import roifile
import tifffile
from numpy.typing import NDArray
from scipy.ndimage import label
from shapely.geometry import shape
from skimage.draw import disk, polygon2mask

from models.measuring import measure_objects
from models.object_files import geojson, imagej_rois, label_tiff


@pytest.fixture
def numbers() -> NDArray[np.int32]:
    """Three discs, one at the picture's edge; number 2 is missing."""
    picture = np.zeros((80, 120), np.int32)
    for number, place, radius in ((1, (20, 30), 12), (3, (55, 80), 20), (4, (0, 110), 9)):
        picture[disk(place, radius, shape=picture.shape)] = number
    return picture


def test_a_label_tiff_holds_the_numbers_and_the_size_of_a_pixel(
    numbers: NDArray[np.int32],
) -> None:
    content = label_tiff(numbers, (0.25, 0.5))

    with tifffile.TiffFile(io.BytesIO(content)) as file:
        page = file.pages.first
        assert page.dtype == np.uint16
        np.testing.assert_array_equal(page.asarray(), numbers)
        assert page.get_resolution("MICROMETER") == pytest.approx((2, 4))
    many = np.arange(70_000, dtype=np.int32).reshape(700, 100)
    np.testing.assert_array_equal(tifffile.imread(io.BytesIO(label_tiff(many))), many)


def test_the_rois_of_imagej_draw_the_objects(numbers: NDArray[np.int32]) -> None:
    with zipfile.ZipFile(io.BytesIO(imagej_rois(numbers))) as archive:
        rois = [roifile.ImagejRoi.frombytes(archive.read(name)) for name in archive.namelist()]

    assert [roi.name for roi in rois] == ["00001", "00003", "00004"]
    for roi in rois:
        # From pixel corners to centres, at which the mask is drawn.
        drawn = polygon2mask(numbers.shape, np.asarray(roi.coordinates())[:, ::-1] - 0.5)
        truth = numbers == int(roi.name)
        assert np.count_nonzero(drawn != truth) <= 0.02 * np.count_nonzero(truth) + 8


def test_geojson_has_closed_polygons_and_measurements(numbers: NDArray[np.int32]) -> None:
    found = json.loads(geojson(numbers, measure_objects(numbers, pixel_size=(0.5, 0.5))))

    assert found["type"] == "FeatureCollection"
    for feature, number in zip(found["features"], (1, 3, 4), strict=True):
        [ring] = feature["geometry"]["coordinates"]
        assert ring[0] == ring[-1]
        x, y = np.array(ring).T
        area = abs(np.sum(x[:-1] * y[1:] - x[1:] * y[:-1])) / 2
        pixels = np.count_nonzero(numbers == number)
        assert area == pytest.approx(pixels, rel=0.05)
        measured = feature["properties"]["measurements"]
        assert measured["area"] == pixels
        assert measured["area_um2"] == pytest.approx(pixels / 4)
    assert json.loads(geojson(np.zeros((5, 5), np.int32), measure_objects(np.zeros((5, 5), int))))


def test_geojson_is_what_qupath_reads() -> None:
    """By the rules of QuPath's importer, since 0.4: QuPathTypeAdapters in its source.

    The type is one of its own, the classification has a name, measurements are numbers by name, and
    the geometry is what JTS, of which Shapely is the port in C++, takes as valid.
    """
    random = np.random.default_rng(0)
    numbers, count = label(random.random((60, 60)) < 0.55)
    objects = measure_objects(numbers, numbers.astype(np.uint16), pixel_size=(0.5, 0.5))

    found = json.loads(geojson(numbers, objects), parse_constant=pytest.fail)

    assert len(found["features"]) == count > 10
    for feature in found["features"]:
        assert feature["type"] == "Feature"
        outline = shape(feature["geometry"])
        assert outline.is_valid
        assert outline.geom_type == "Polygon"
        properties = feature["properties"]
        assert properties["objectType"] in ("annotation", "detection", "cell", "tile")
        assert properties["name"] == str(properties["measurements"]["number"])
        assert isinstance(properties["classification"]["name"], str)
        assert all(isinstance(value, int | float) for value in properties["measurements"].values())
