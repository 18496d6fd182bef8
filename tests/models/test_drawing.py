"""Pictures of results: values are kept, colours are right, and nothing else changes."""

import io

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image
from skimage.segmentation import find_boundaries

from models.drawing import (
    Color,
    annotate,
    binary_preview,
    gray_preview,
    heat,
    indexed_picture,
    instance_outlines,
    overlay,
    paint,
    ramp,
    reduced,
    share_card,
    thumbnail,
)
from models.images import Photo
from models.regions import of_numbers

COLORS: dict[int, Color] = {0: (10, 20, 30), 1: (255, 0, 0), 3: (0, 200, 255)}


def random_photo(height: int, width: int) -> Photo:
    return np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8)


def random_mask(height: int, width: int) -> NDArray[np.uint8]:
    return np.random.default_rng(1).integers(0, 5, (height, width), dtype=np.uint8)


def png(image: Image.Image) -> Image.Image:
    """The picture as a program finds it in the file."""
    buffer = io.BytesIO()
    image.save(buffer, "PNG")
    return decode(buffer.getvalue())


def decode(content: bytes) -> Image.Image:
    image = Image.open(io.BytesIO(content), formats=["PNG"])
    image.load()
    return image


@pytest.mark.parametrize("shape", [(1, 1), (7, 5), (1, 40), (300, 451)])
def test_an_indexed_png_keeps_values_and_shows_colours(shape: tuple[int, int]) -> None:
    values = random_mask(*shape)

    read = png(indexed_picture(values, COLORS))

    np.testing.assert_array_equal(np.asarray(read), values)
    shown = np.asarray(read.convert("RGB"))
    for value in np.unique(values):
        assert (shown[values == value] == COLORS.get(int(value), (0, 0, 0))).all()


def test_all_256_values_survive_a_png() -> None:
    values = np.arange(256, dtype=np.uint8).reshape(16, 16)
    colors = {value: (value, 255 - value, value // 2) for value in range(256)}

    read = png(indexed_picture(values, colors))

    np.testing.assert_array_equal(np.asarray(read), values)
    expected = np.array([colors[value] for value in range(256)]).reshape(16, 16, 3)
    np.testing.assert_array_equal(np.asarray(read.convert("RGB")), expected)


def test_a_part_of_a_larger_array_is_drawn() -> None:
    values = random_mask(20, 30)[::2, 5:25].T

    np.testing.assert_array_equal(np.asarray(png(indexed_picture(values, COLORS))), values)


def test_a_ramp_keeps_values_and_steps_evenly_between_its_colours() -> None:
    values = np.arange(256, dtype=np.uint8).reshape(16, 16)

    read = decode(ramp(values, [(0, 0, 100), (200, 50, 100), (255, 255, 0)]))

    np.testing.assert_array_equal(np.asarray(read), values)
    shown = np.asarray(read.convert("RGB")).reshape(256, 3).astype(int)
    assert (shown[0] == (0, 0, 100)).all()
    assert (shown[255] == (255, 255, 0)).all()
    np.testing.assert_allclose(shown[[127, 128]].mean(axis=0), (200, 50, 100), atol=1)
    np.testing.assert_allclose(shown[64], (100, 25, 100), atol=1)
    assert np.abs(np.diff(shown, axis=0)).max() <= 3


def test_reduced_photos_keep_their_shape_and_small_ones_their_size() -> None:
    photo = random_photo(100, 200)

    assert reduced(photo, 50).shape == (25, 50, 3)
    np.testing.assert_array_equal(reduced(photo, 200), photo)


def test_an_overlay_of_no_opacity_is_the_photo() -> None:
    photo, mask = random_photo(30, 40), random_mask(30, 40)

    np.testing.assert_array_equal(overlay(photo, mask, COLORS, 0), photo)
    np.testing.assert_array_equal(overlay(photo, mask, {}, 1), photo)


@pytest.mark.parametrize("opacity", [0.05, 0.3, 0.5, 0.95, 1.0])
def test_an_overlay_mixes_photo_and_colours_where_classes_have_one(opacity: float) -> None:
    photo, mask = random_photo(30, 40), random_mask(30, 40)

    mixed = overlay(photo, mask, COLORS, opacity)

    assert mixed.dtype == np.uint8
    assert mixed.shape == photo.shape
    for value in range(5):
        inside = mask == value
        if value in COLORS:
            expected = photo[inside] * (1 - opacity) + np.array(COLORS[value]) * opacity
            np.testing.assert_allclose(mixed[inside], expected, atol=1)
        else:
            np.testing.assert_array_equal(mixed[inside], photo[inside])


def test_a_full_overlay_is_just_the_colours() -> None:
    photo, mask = random_photo(30, 40), np.ones((30, 40), np.uint8)

    assert (overlay(photo, mask, COLORS, 1) == COLORS[1]).all()


def test_drawing_leaves_photo_and_mask_as_they_are() -> None:
    photo, mask = random_photo(30, 40), random_mask(30, 40)
    photo.flags.writeable = mask.flags.writeable = False

    overlay(photo, mask, COLORS, 0.5)
    indexed_picture(mask, COLORS)
    binary_preview(mask, 2, 10)


@pytest.mark.parametrize("shape", [(1, 1), (1, 30), (2, 2), (60, 90)])
def test_outlines_are_the_outermost_pixels_of_each_object(shape: tuple[int, int]) -> None:
    generator = np.random.default_rng(3)
    coarse = generator.integers(0, 4, (1 + shape[0] // 5, 1 + shape[1] // 5), dtype=np.int32)
    instances = coarse.repeat(5, axis=0).repeat(5, axis=1)[: shape[0], : shape[1]]

    outlines = instance_outlines(instances)

    expected = find_boundaries(instances, connectivity=1, mode="inner") & (instances > 0)
    np.testing.assert_array_equal(outlines, expected)


def test_outlines_of_a_large_picture_are_wider() -> None:
    instances = np.zeros((400, 2400), np.int32)
    instances[100:200, 300:700] = 7
    instances[100:200, 700:900] = 2
    instances[350:, 2000:] = 9

    outlines = instance_outlines(instances)

    assert outlines[:, 500].nonzero()[0].tolist() == [100, 101, 102, 197, 198, 199]
    inside = {300, 301, 302, 697, 698, 699, 700, 701, 702, 897, 898, 899}
    assert set(outlines[150].nonzero()[0].tolist()) == inside
    assert outlines[:, 2200].nonzero()[0].tolist() == [350, 351, 352]


def test_each_object_gets_its_outline_its_box_and_its_name() -> None:
    photo = np.full((400, 600, 3), 90, np.uint8)
    regions = np.zeros((400, 600), np.int32)
    regions[100:300, 50:250] = 1
    regions[150:390, 350:560] = 2
    boxes = [(50, 100, 250, 300), (350, 150, 560, 390)]
    red, yellow = (200, 0, 0), (255, 240, 0)

    image = annotate(photo, of_numbers(regions), ["Pug", "Bengal"], [red, yellow], 1000)

    drawn = np.asarray(image)
    assert drawn.shape == photo.shape
    for (left, top, right, bottom), color in zip(boxes, (red, yellow), strict=True):
        for row, column in ((top + 20, left), (bottom - 1, right - 1), (bottom - 1, left + 50)):
            assert tuple(drawn[row, column]) == color
        assert (drawn[top + 5 : bottom - 5, left + 5 : right - 5] == 90).all()
        # Above the box, the name on its colour: white on dark red, black on yellow.
        label = drawn[:top, left:right].reshape(-1, 3)
        assert (label == color).all(axis=1).sum() > 200
        letters = (0, 0, 0) if color == yellow else (255, 255, 255)
        assert (label == letters).all(axis=1).sum() > 20


def test_names_stay_inside_the_photo_and_large_photos_are_reduced() -> None:
    photo = np.full((900, 3000, 3), 90, np.uint8)
    regions = np.zeros((900, 3000), np.uint8)
    regions[:, 2900:] = 1

    image = annotate(photo, of_numbers(regions), ["A long name 99%"], [(9, 9, 9)], 1000)

    drawn = np.asarray(image)
    assert drawn.shape == (300, 1000, 3)
    columns = np.flatnonzero((drawn == 255).all(axis=2).any(axis=0))  # those of the letters
    assert columns.max() < 999
    assert columns.max() - columns.min() > 100


@pytest.mark.parametrize("room_below", [True, False])
def test_a_name_covers_as_little_of_the_pets_as_possible(room_below: bool) -> None:
    photo = np.full((200, 1000, 3), 90, np.uint8)  # too low for a name above the pet
    regions = np.zeros((200, 1000), np.uint8)
    last = 150 if room_below else 190
    regions[10:last, 300:350] = 1  # narrower than its name
    regions[10:last, 350:500] = 2  # to the right of it

    image = annotate(photo, of_numbers(regions), ["First 99%", ""], [(9, 9, 9)] * 2, 1000)

    letters = (np.asarray(image) == 255).all(axis=2)
    covered = np.count_nonzero(letters & (regions > 0))
    if room_below:
        assert covered == 0
        assert letters[last:].any()
    else:
        assert 0 < covered < np.count_nonzero(letters)


def test_names_of_pets_side_by_side_do_not_cover_each_other() -> None:
    photo = np.full((600, 900, 3), 90, np.uint8)
    regions = np.zeros((600, 900), np.uint8)
    regions[200:400, 300:360] = 1
    regions[200:400, 360:420] = 2
    red, yellow = (200, 0, 0), (255, 240, 0)

    alone = annotate(photo, of_numbers((regions == 1).astype(np.uint8)), ["A name"], [red], 900)
    drawn = annotate(photo, of_numbers(regions), ["A name", "Another"], [red, yellow], 900)

    # White letters, on red only: no letter is lost under the other name.
    count = np.count_nonzero((np.asarray(alone) == 255).all(axis=2))
    assert np.count_nonzero((np.asarray(drawn) == 255).all(axis=2)) == count


def test_heat_colours_what_there_is_evidence_at() -> None:
    photo = np.random.default_rng(0).integers(0, 256, (20, 30, 3), dtype=np.uint8)
    evidence = np.zeros((20, 30), np.float32)
    evidence[:, 20:] = 1

    shown = heat(photo, evidence, (200, 100, 0), 0.5)

    grey = np.asarray(Image.fromarray(photo).convert("L"), float)
    np.testing.assert_allclose(shown[:, :20], np.dstack([grey[:, :20]] * 3), atol=1)
    mixed = grey[:, 20:, np.newaxis] * 0.5 + np.array([200, 100, 0]) * 0.5
    np.testing.assert_allclose(shown[:, 20:], mixed, atol=2)


def test_a_thumbnail_is_a_small_jpeg() -> None:
    photo = np.full((300, 600, 3), (200, 30, 60), np.uint8)

    picture = Image.open(io.BytesIO(thumbnail(photo, 100)))

    assert (picture.format, picture.size) == ("JPEG", (100, 50))
    np.testing.assert_allclose(np.asarray(picture)[25, 50], (200, 30, 60), atol=4)


def test_painting_changes_only_the_given_pixels() -> None:
    photo, where = random_photo(20, 30), random_mask(20, 30) > 2
    photo.flags.writeable = False

    painted = paint(photo, where, (1, 2, 3))

    assert (painted[where] == (1, 2, 3)).all()
    np.testing.assert_array_equal(painted[~where], photo[~where])


@pytest.mark.parametrize("cut", [99.0, 99.5, 100.0, -1.0, 255.0])
def test_a_preview_is_white_above_the_cut(cut: float) -> None:
    gray = np.random.default_rng(2).integers(90, 110, (40, 50), dtype=np.uint8)

    preview = decode(binary_preview(gray, cut, 50))

    np.testing.assert_array_equal(np.asarray(preview.convert("L")), np.where(gray > cut, 255, 0))


@pytest.mark.parametrize(
    ("height", "width", "expected"),
    [
        (1000, 1000, (100, 100)),
        (600, 800, (75, 100)),
        (800, 400, (100, 50)),
        (1, 5000, (1, 100)),
        (5000, 1, (100, 1)),
        (30, 20, (30, 20)),
    ],
)
def test_a_preview_is_no_larger_than_asked(
    height: int, width: int, expected: tuple[int, int]
) -> None:
    gray = np.zeros((height, width), np.uint8)

    assert decode(binary_preview(gray, 10, 100)).size == expected[::-1]


@pytest.mark.parametrize(
    ("shape", "expected"),
    [((30, 40), (30, 40)), ((200, 150), (100, 75)), ((3, 900), (1, 100)), ((901, 600), (100, 67))],
)
def test_a_gray_preview_mixes_no_values(shape: tuple[int, int], expected: tuple[int, int]) -> None:
    gray = np.random.default_rng(4).choice(np.array([3, 90, 250], np.uint8), shape)

    preview = decode(gray_preview(gray, 100))

    assert preview.mode == "L"
    assert preview.size == expected[::-1]
    assert set(np.unique(np.asarray(preview))) == {3, 90, 250}
    if shape == expected:
        np.testing.assert_array_equal(np.asarray(preview), gray)


def test_a_gray_preview_shows_the_whole_picture() -> None:
    gray = np.full((800, 800), 30, np.uint8)
    gray[:, 300:] = 180

    preview = np.asarray(decode(gray_preview(gray, 200)))

    np.testing.assert_array_equal(np.unique(preview, axis=0)[0], [30] * 75 + [180] * 125)


def test_a_reduced_preview_shows_how_many_of_its_pixels_are_above_the_cut() -> None:
    gray = np.random.default_rng(3).integers(0, 256, (120, 200), dtype=np.uint8)

    preview = np.asarray(decode(binary_preview(gray, 90, 50)).convert("L"))

    share = (gray > 90).reshape(30, 4, 50, 4).mean(axis=(1, 3))
    np.testing.assert_allclose(preview / 255, share, atol=0.5 / 255 + 1e-6)


def test_a_reduced_preview_shows_areas_black_and_white() -> None:
    gray = np.full((800, 800), 30, np.uint8)
    gray[:, 300:] = 180

    preview = np.asarray(decode(binary_preview(gray, 100, 200)))

    assert preview[:, :73].max() <= 2
    assert preview[:, 77:].min() >= 253
    assert preview.mean() / 255 == pytest.approx(5 / 8, abs=0.01)


@pytest.mark.parametrize(("height", "width"), [(900, 300), (30, 90), (600, 800), (1, 1)])
def test_a_share_card_shows_the_whole_photo_large_and_the_first_three_names(
    height: int, width: int
) -> None:
    photo = np.full((height, width, 3), (255, 0, 0), np.uint8)
    marks = [(0, 158, 115), (230, 159, 0), (1, 2, 3), (4, 5, 6)]
    lines = [("Staffordshire Bull Terrier", "98%"), ("Pug", "97%"), ("Sphynx", ""), ("Boxer", "")]

    card = np.array(share_card(photo, lines, marks, ["made with Petscope", "example.org"]))

    assert card.shape == (630, 1200, 3)
    rows, columns = np.nonzero((card == (255, 0, 0)).all(axis=2))
    shape = np.ptp(rows) + 1, np.ptp(columns) + 1
    assert len(rows) == shape[0] * shape[1]  # a whole rectangle
    assert shape[0] / shape[1] == pytest.approx(height / width, rel=0.02)
    assert shape[0] == 630 or shape[1] == 760
    assert [(card == mark).all(axis=2).any() for mark in marks] == [True, True, True, False]
    written = np.nonzero((card[:, columns.max() + 60 :] < 60).all(axis=2))
    assert written[1].max() + columns.max() + 60 < 1200 - 20  # no letter is cut off
