"""The Cut out tab's edge, frame and choice of pets: what is shown is what is saved."""

from pathlib import Path

import gradio as gr
import numpy as np
import pytest
from PIL import Image

from ui import cutout, examples, pets, result_files
from ui.memory import Memory
from ui.uploads import Edge, Upload


@pytest.fixture(scope="module")
def upload(tmp_path_factory: pytest.TempPathFactory) -> Upload:
    path = tmp_path_factory.mktemp("abc") / "pets.jpg"
    path.write_bytes((examples.FOLDER / "cat_and_dog.jpg").read_bytes())
    return Upload(str(path), Memory(100_000_000))


def test_a_pet_that_is_chosen_is_cut_out_alone(upload: Upload) -> None:
    offered = cutout.offer_pets(upload)
    values = [str(value) for _, value in offered.choices]
    assert offered.visible
    assert offered.value == []
    assert len(values) == len(upload.pets.pets) == 2

    number = cutout.chosen_pets(upload, values[1:])
    assert number == (2,)
    assert cutout.chosen_pets(upload, ["another-photo:1", "nonsense"]) == ()

    both = upload.cut_out().cut_out[:, :, 3] > 127
    first, second = (upload.cut_out(Edge(only=(n,))).cut_out[:, :, 3] > 127 for n in (1, 2))
    assert not (first & second).any()
    np.testing.assert_array_equal(first | second, both)
    mask = upload.pets.pets[1].region.mask
    assert (second & mask).sum() > 0.85 * second.sum()


def test_a_pet_that_is_clicked_is_chosen_alone_and_let_go_by_another_click(upload: Upload) -> None:
    names = [str(value) for _, value in cutout.offer_pets(upload).choices]
    cards = pets.show_pets(upload)[2]
    assert all(f'data-choice="{name}" aria-pressed="false"' in cards for name in names)
    for name, pet in zip(names, upload.pets.pets, strict=True):
        rows, columns = np.nonzero(pet.region.mask)
        middle = len(rows) // 2
        clicked = gr.SelectData(
            None, {"index": [int(columns[middle]), int(rows[middle])], "value": None}
        )

        assert pets.toggle_at(upload, names, clicked) == [name]
        assert pets.toggle_at(upload, [name], clicked) == []
        assert pets.toggle(name, []) == [name]
        assert pets.toggle(name, [name]) == []


@pytest.mark.parametrize("place", [(0, 0), (-1, 5), (100_000, 5)])
def test_a_click_beside_the_pets_chooses_none(upload: Upload, place: tuple[int, int]) -> None:
    clicked = gr.SelectData(None, {"index": list(place), "value": None})

    assert pets.toggle_at(upload, ["kept"], clicked) == gr.skip()
    assert pets.toggle_at(None, [], clicked) == gr.skip()


def test_one_pet_alone_is_not_offered() -> None:
    assert not cutout.offer_pets(None).visible


@pytest.mark.parametrize("background", ["transparent", "color", "blurred"])
def test_the_preview_is_the_file(upload: Upload, background: cutout.Background) -> None:
    shape = (1.0, 0.3, 2.0, True, 6, True)

    _, sides, *_ = cutout.show_cut_out(upload, background, "#2f7fd1", None, (), *shape)
    path = cutout.write_cut_out(upload, background, "#2f7fd1", None, "png", (), *shape)

    assert isinstance(sides, tuple)
    before, shown, saved = (Image.open(file) for file in (*sides, path))
    assert saved.width == saved.height
    assert before.size == shown.size
    assert shown.mode == saved.mode == ("RGBA" if background == "transparent" else "RGB")
    small = np.asarray(saved.resize(shown.size), float)
    assert np.abs(small - np.asarray(shown, float)).mean() < 8


@pytest.mark.parametrize("kind", ["png", "webp", "jpeg"])
def test_files_are_of_the_kind_that_is_chosen(upload: Upload, kind: result_files.Kind) -> None:
    path = cutout.write_cut_out(upload, "transparent", "#ffffff", None, kind)

    with Image.open(path) as saved:
        assert saved.format == kind.upper()
        assert saved.mode == ("RGB" if kind == "jpeg" else "RGBA")
        corner = saved.getpixel((0, 0))
    assert isinstance(corner, tuple)
    assert corner == (255, 255, 255) or corner[3:] == (0,)
    assert Path(path).suffix == (".jpg" if kind == "jpeg" else f".{kind}")
