"""Figures of tiny models that classify pixels by colour, against counting by hand."""

import hashlib
import json
import os
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Literal

import numpy as np
import pytest
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper
from PIL import Image

import documents
from models import detection, segmentation, store
from models.cards import Card, Label, ModelError, Task
from models.images import open_photo
from models.preprocessing import InputSpec
from training import data_sets, evaluate, evaluate_pets, metrics, nuclei, pets, summary
from training.errors import UserError
from training.evaluation import models, scores, tables
from training.runs import write_facts

SIDE = 32
HALF = (0.5, 0.5, 0.5)
SPEC = InputSpec(SIDE, SIDE, "squash", "bilinear", mean=HALF, std=HALF, layout="NHWC")
RED, GREEN, BLUE = np.eye(3, dtype=np.uint8) * 255  # pet, background, border

# The network sees red as (1, -1, -1), so red pixels almost certainly get the first class.
SURE = np.eye(3, dtype=np.float32) * 10


def write_model(
    folder: Path,
    name: str,
    weights: NDArray[np.float32],
    labels: Sequence[dict[str, str]],
    task: Task = "segmentation",
    data: str = "Oxford-IIIT Pet",
    spec: InputSpec = SPEC,
) -> Path:
    """Write `softmax(weights @ pixel)`, or of the mean pixel for a classifier; return the card."""
    masks = task == "segmentation"
    nodes = [
        helper.make_node("ReduceMean", ["photo", "axes"], ["mean"], keepdims=0),
        helper.make_node("MatMul", ["photo" if masks else "mean", "weights"], ["logits"]),
        helper.make_node("Softmax", ["logits"], ["probabilities"], axis=-1),
    ]
    tensors: dict[str, NDArray[Any]] = {
        "weights": weights.T.copy(),
        "axes": np.array([1, 2], np.int64),
    }
    axes = [list("bhwc"), list("bhwk" if masks else "bk")]
    graph = helper.make_graph(
        nodes[masks:],
        name,
        [helper.make_tensor_value_info("photo", TensorProto.FLOAT, axes[0])],
        [helper.make_tensor_value_info("probabilities", TensorProto.FLOAT, axes[1])],
        [numpy_helper.from_array(tensor, key) for key, tensor in tensors.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)
    content = model.SerializeToString()
    (folder / f"{name}.onnx").write_bytes(content)
    card = folder / f"{name}.json"
    facts = {
        "task": task,
        "labels": list(labels),
        "input": asdict(spec),
        "output": {"layout": "NHWC" if masks else "NC"},
        "training": {"data": data, "split": "train"},
        "metrics": {"end of training": {"pictures": 1}},
        "sha256": hashlib.sha256(content).hexdigest(),
    }
    card.write_text(json.dumps(facts))
    return card


def stripes(*widths_and_colors: Any) -> NDArray[np.uint8]:  # noqa: ANN401
    """A picture of vertical stripes, each with a width and a colour (or trimap value)."""
    widths, colors = widths_and_colors[::2], widths_and_colors[1::2]
    row = np.concatenate(
        [np.repeat([color], width, axis=0) for width, color in zip(widths, colors, strict=True)]
    )
    return np.repeat(row[np.newaxis], SIDE, axis=0).astype(np.uint8)


def write_pets(
    root: Path, pictures: dict[str, tuple[NDArray[np.uint8], NDArray[np.uint8]]]
) -> Path:
    """Write photos and trimaps in the official layout, all in the test split.

    The letter in the name gives the class: "a_1" and "a_2" belong to the first.
    """
    (root / "images").mkdir(parents=True)
    (root / "annotations" / "trimaps").mkdir(parents=True)
    lines = []
    for name, (photo, trimap) in pictures.items():
        # JPEG would change the colours; the reader goes by the content, not the extension.
        Image.fromarray(photo).save(root / "images" / f"{name}.jpg", "PNG")
        Image.fromarray(trimap).save(root / "annotations" / "trimaps" / f"{name}.png")
        lines.append(f"{name} {ord(name[0]) - ord('a') + 1} 1 1\n")
    (root / "annotations" / "list.txt").write_text("".join(lines))
    (root / "annotations" / "test.txt").write_text("".join(lines))
    (root / ".complete").touch()
    return root


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder from which models are loaded."""
    folder = tmp_path / "models"
    folder.mkdir()
    monkeypatch.setenv("MODELS", str(folder))
    return folder


@pytest.fixture
def pet_card(folder: Path) -> Path:
    return write_model(folder, "pet", SURE, [{"name": name} for name in pets.MASK_CLASSES])


@pytest.fixture
def striped_pets(tmp_path: Path) -> Path:
    """A pet whose outline the colours miss by four pixels, and one that they match."""
    missed = stripes(20, RED, 12, GREEN), stripes(16, 1, 16, 2)
    met = stripes(12, RED, 4, BLUE, 16, GREEN), stripes(12, 1, 4, 3, 16, 2)
    return write_pets(tmp_path / "pets", {"a_1": missed, "b_1": met})


def check_striped_pets(figures: metrics.Figures) -> None:
    assert figures["pictures"] == 2
    for size in (f"at {SIDE} px", "at 128 px", "at the photo's own size"):
        # In columns: 28 of 32 predicted as pet are pet, and all 28 of the pet are found.
        assert figures[size]["iou"] == pytest.approx(
            {"pet": 28 / 32, "background": 28 / 32, "border": 1}
        )
        assert figures[size]["dice"] == pytest.approx(
            {"pet": 14 / 15, "background": 14 / 15, "border": 1}
        )
        assert figures[size]["mean_iou"] == pytest.approx((7 / 8 + 7 / 8 + 1) / 3)
        assert figures[size]["pixel_accuracy"] == pytest.approx(60 / 64)
        assert figures[size]["binary_iou"] == pytest.approx(32 / 36)
        assert figures[size]["binary_dice"] == pytest.approx(64 / 68)
        assert figures[size]["boundary_f"] == pytest.approx(1 / 2)
    assert figures["mean_iou_per_breed"] == pytest.approx({"A": (16 / 20 + 12 / 16) / 3, "B": 1})


def score(*words: str | Path, root: Path, out: Path) -> metrics.Figures:
    """Run the command on the test split; return what it wrote."""
    options = ["--models", os.environ.get("MODELS", ""), "--root", str(root), "--out", str(out)]
    evaluate.main(["--split", "test", *options, *map(str, words)])
    return json.loads((out / "figures.json").read_text())


def test_masks_against_counting_by_hand(pet_card: Path, striped_pets: Path, tmp_path: Path) -> None:
    figures = score("pet", root=striped_pets, out=tmp_path / "out")

    check_striped_pets(figures)
    assert (figures["model"], figures["split"]) == ("pet", "test")
    assert "boundary_f | 0.5000 | 0.5000 |" in (tmp_path / "out" / "figures.md").read_text()
    with Image.open(tmp_path / "out" / "per_breed.png") as image:
        assert image.format == "PNG"


def test_the_masks_of_the_page_against_counting_by_hand(
    pet_card: Path, striped_pets: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    segmenter = segmentation.Segmenter(*store.load("pet", "segmentation", pet_card.parent))
    monkeypatch.setattr(store, "default", lambda task: "pet")
    monkeypatch.setattr(segmentation, "load", lambda name: segmenter)
    box = (0, 0, 20, SIDE)  # all of what is red in one of the pictures
    found = [detection.Detection(box, Label("dog"), probability=0.9)]
    card = SimpleNamespace(candidates=None)
    detector = SimpleNamespace(detect=lambda photo: found, card=card)
    monkeypatch.setattr(detection, "default", lambda: detector)

    figures = evaluate_pets.measure_masks(data_sets.open_pets(striped_pets), "test")

    assert set(figures) == {"at 128 px, as on the page", "at the photo's own size, as on the page"}
    for each in figures.values():
        assert each["mean_iou"] == pytest.approx((7 / 8 + 7 / 8 + 1) / 3)
        assert each["binary_iou"] == pytest.approx(32 / 36)
        assert each["boundary_f"] == pytest.approx(1 / 2)


@pytest.mark.parametrize(
    "spec",
    [
        SPEC,
        replace(SPEC, resize="fit", multiple=16),
        replace(SPEC, height=200, width=200, resize="fit", multiple=32),
    ],
    ids=["squash", "fit, shrunk", "fit"],
)
def test_masks_at_the_photo_s_size_are_those_served(
    spec: InputSpec, folder: Path, tiny_pets: Path
) -> None:
    labels = [{"name": name} for name in pets.MASK_CLASSES]
    write_model(folder, "pet", SURE / np.float32(10), labels, spec=spec)
    photos = [example.photo for example in pets.split(tiny_pets, "test")[:3]]

    measured = models.segmentations(models.open_model("pet", folder), photos)

    segmenter = segmentation.Segmenter(*store.load("pet", "segmentation", folder))
    for photo, full in zip(photos, measured, strict=True):
        served = segmenter.predict(open_photo(photo))
        np.testing.assert_allclose(full.probabilities, served.probabilities, atol=1e-6)
        assert full.classes == served.classes


def test_photos_of_several_sizes_come_in_their_order(folder: Path, tmp_path: Path) -> None:
    spec = replace(SPEC, height=256, width=256, resize="fit")
    write_model(folder, "pet", SURE, [{"name": "pet"}, {"name": "background"}], spec=spec)
    shapes = [(20, 30), (20, 30), (40, 10)] * 15  # more than a batch
    paths = [tmp_path / f"{number}.png" for number in range(len(shapes))]
    for path, (number, shape) in zip(paths, enumerate(shapes), strict=True):
        Image.fromarray(np.full((*shape, 3), number, np.uint8)).save(path)

    answers = list(models.predictions(models.open_model("pet", folder), paths))

    for number, (shape, (photo, probabilities)) in enumerate(zip(shapes, answers, strict=True)):
        assert (photo == number).all()
        assert photo.shape[:2] == probabilities.shape[:2] == shape


def test_breeds_against_counting_by_hand(folder: Path, tmp_path: Path) -> None:
    colors = {"a": RED, "b": GREEN, "c": BLUE}
    seen = {"a_1": "a", "a_2": "a", "a_3": "b", "a_4": "b", "b_1": "b", "c_1": "c", "c_2": "a"}
    mask = np.ones((SIDE, SIDE), np.uint8)
    pictures = {name: (stripes(SIDE, colors[color]), mask) for name, color in seen.items()}
    root = write_pets(tmp_path / "pets", pictures)
    labels = [{"name": letter, "species": "cat"} for letter in "abc"]
    write_model(folder, "breeds", np.eye(3, dtype=np.float32), labels, "classification")

    figures = score("breeds", root=root, out=tmp_path / "out")

    sure, unsure = np.e**1, np.e**-1
    sure, unsure = sure / (sure + 2 * unsure), unsure / (sure + 2 * unsure)
    assert figures["pictures"] == 7
    assert figures["size"] == SIDE
    assert figures["top1"] == pytest.approx(4 / 7)
    assert figures["top5"] == 1
    assert figures["top1_per_breed"] == pytest.approx({"A": 1 / 2, "B": 1, "C": 1 / 2})
    assert figures["precision_per_breed"] == pytest.approx({"A": 2 / 3, "B": 1 / 3, "C": 1})
    assert figures["f1_per_breed"] == pytest.approx({"A": 4 / 7, "B": 1 / 2, "C": 2 / 3})
    assert figures["top1_averaged_over_breeds"] == pytest.approx(2 / 3)
    assert figures["expected_calibration_error"] == pytest.approx(abs(sure - 4 / 7))
    likelihood = -(4 * np.log(sure) + 3 * np.log(unsure)) / 7
    assert figures["negative_log_likelihood"] == pytest.approx(likelihood)
    assert list(figures["most_confused"].items()) == [("A taken for B", 2), ("C taken for A", 1)]
    for plot in ("per_breed", "confusion", "reliability"):
        assert (tmp_path / "out" / f"{plot}.png").stat().st_size > 5000


def test_nuclei_against_counting_by_hand(folder: Path, tmp_path: Path) -> None:
    labels = [{"name": name} for name in nuclei.MASK_CLASSES]
    spec = replace(SPEC, height=256, width=256, resize="fit", multiple=32)
    write_model(folder, "nuclei", SURE, labels, data="DSB 2018 nuclei", spec=spec)
    examples = []
    sizes: dict[nuclei.Kind, tuple[int, int]] = {"fluorescence": (64, 64), "stained": (70, 60)}
    for kind, size in sizes.items():
        truth = np.zeros(size, np.uint16)
        truth[8:24, 8:24], truth[8:24, 40:56] = 1, 2
        photo = np.where(truth[:, :, np.newaxis] > 0, RED, GREEN)
        if kind == "stained":
            photo[40:56, 8:24], photo[8:24, 40:56] = RED, GREEN  # one too many, one too few
        name = str(tmp_path / kind)
        Image.fromarray(photo).save(f"{name}.png")
        Image.fromarray(truth).save(f"{name}_labels.png")
        examples.append(nuclei.Example(kind, Path(f"{name}.png"), Path(f"{name}_labels.png"), kind))
    model = models.open_model("nuclei", folder)

    figures = scores.score_nuclei(model, examples, tmp_path)

    assert figures["pictures"] == 2
    assert set(figures["fluorescence"].values()) == {1}
    assert figures["stained"]["binary_iou"] == pytest.approx(1 / 3)
    assert figures["stained"]["binary_dice"] == pytest.approx(1 / 2)
    assert figures["stained"]["ap50"] == pytest.approx(1 / 3)
    assert figures["at the photo's own size"] == pytest.approx(
        {
            "pictures": 2,
            "binary_iou": 3 / 5,
            "binary_dice": 3 / 4,
            "binary_iou_averaged_over_pictures": 2 / 3,
            "binary_dice_averaged_over_pictures": 3 / 4,
            "ap50": 2 / 3,
            "ap50_95": 2 / 3,
        }
    )
    assert (tmp_path / "per_kind.png").is_file()


def test_masks_of_a_network_that_is_wider_than_high(
    folder: Path, striped_pets: Path, tmp_path: Path
) -> None:
    labels = [{"name": name} for name in pets.MASK_CLASSES]
    write_model(folder, "pet", SURE, labels, spec=replace(SPEC, height=24))

    figures = score("pet", root=striped_pets, out=tmp_path / "out")

    assert figures["at 24x32 px"]["pixel_accuracy"] == pytest.approx(60 / 64)


def test_a_path_to_a_model_and_another_size(
    pet_card: Path, striped_pets: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:

    figures = score(
        pet_card.with_suffix(".onnx"), "--size", "16", root=striped_pets, out=tmp_path / "out"
    )

    assert figures["at 16 px"]["mean_iou"] == pytest.approx((7 / 8 + 7 / 8 + 1) / 3)


def test_only_the_pictures_named(
    pet_card: Path, striped_pets: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = tmp_path / "original trimaps.txt"
    names.write_text("b_1.jpg\nc_1\n")
    monkeypatch.chdir(tmp_path)

    words = ["pet", "--models", str(pet_card.parent), "--root", str(striped_pets)]
    evaluate.main([*words, "--split", "test", "--names", str(names)])

    written = tmp_path / "runs" / "evaluation" / "pet-test-original trimaps" / "figures.json"
    figures = json.loads(written.read_text())
    assert figures["split"] == "test, original trimaps"
    assert figures["pictures"] == 1
    assert figures["at the photo's own size"]["mean_iou"] == 1


def test_writing_changes_the_card_s_figures_and_the_readme_s_table_alone(
    pet_card: Path, striped_pets: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    readme = tmp_path / "README.md"
    readme.write_text(f"before\n{tables.START}\nold\n{tables.END}\nafter\n")
    (short := tmp_path / "SHORT.md").write_text(f"{summary.START}{summary.END}")
    (weights := tmp_path / "WEIGHTS.md").write_text(
        f"{tables.START_OF_WEIGHTS}{tables.END_OF_WEIGHTS}"
    )
    monkeypatch.setattr(documents, "ROOT", tmp_path)
    monkeypatch.setattr(store, "EMBEDDED", pet_card.parent)
    before = json.loads(pet_card.read_text())

    figures = score("pet", "--write", root=striped_pets, out=tmp_path / "out")

    after = json.loads(pet_card.read_text())
    check_striped_pets(after["metrics"]["test"])
    assert figures.items() >= after["metrics"].pop("test").items()
    assert after == before
    head, table, tail = readme.read_text().replace(tables.END, tables.START).split(tables.START)
    assert (head, tail) == ("before\n", "\nafter\n")
    assert table.count("| pet | pixel accuracy 93.75%, mean IoU 0.917 (pet 0.875, ") == 3
    assert "binary Dice 0.941, boundary F 0.500 | test, 2 pictures | 32 px |" in table
    assert "boundary F 0.500 | test, 2 pictures | photo's own size |" in table
    assert "| `pet` | mean IoU 0.917" in short.read_text()
    assert "| `pet` |" in weights.read_text()


def test_the_table_tells_what_the_cards_have(pet_card: Path) -> None:
    def card(**metrics: metrics.Figures) -> Card:
        evaluated = {"pictures": 1234, "command": "python", "size": 99}
        facts = {"metrics": {key: {**evaluated, **value} for key, value in metrics.items()}}
        return Card("x", "segmentation", (), SPEC, "NHWC", "", facts)

    old = card(validation={"top1": 0.1}, test={"top1": 0.8912, "top5": 0.95})
    new = card(test={"top1": 0.9, "expected_calibration_error": 0.0123})
    own_size = {"binary_dice": 0.91, "ap50": 0.8, "ap50_95": 0.6}
    cells = card(test={"at the photo's own size": own_size}, **{"test, hard": {"ap50": 0.9}})
    page = card()
    told = {"pets": 3669, "others": 127, "auroc": 0.98, "pets_refused": 0.02}
    facts = dict(page.facts)
    facts["refusal"] = {
        "measured": {"test": {**told, "others_accepted": 0.1}},
        "command": "python refusal",
    }
    facts["evidence"] = {
        "split": "test",
        "on_pet": 0.95,
        "pictures": 3000,
        "command": "python evidence",
    }

    page = replace(page, facts=facts)
    assert tables.results_table([old, new, cells, page]).splitlines()[2:] == [
        "| x | top-1 89.12%, top-5 95.00% | test, 1,234 pictures | 99 px | `python` |",
        "| x | top-1 90.00%, calibration error 1.23% | test, 1,234 pictures | 99 px | `python` |",
        "| x | binary Dice 0.910, AP at IoU 0.5 0.800, AP at IoU 0.5 to 0.95 0.600 "
        "| test, 1,234 pictures | photo's own size | `python` |",
        "| x | pets told from other things: AUROC 0.980, pets refused 2.00%, others accepted "
        "10.00% | test, 3,669 pets and 127 other photos | largest pet that the page finds "
        "| `python refusal` |",
        "| x | strongest evidence on the pet 95.00% | test, 3,000 pictures "
        "| largest region of the whole photo's mask "
        "| `python evidence` |",
    ]


def describe(run: Path, framework: str, task: Task, layout: Literal["NCHW", "NHWC"]) -> None:
    write_facts(
        run,
        task=task,
        framework=framework,
        labels=[{"name": name} for name in pets.MASK_CLASSES],
        input_spec=InputSpec(SIDE, SIDE, "squash", "bilinear", HALF, HALF, layout),
        data="Oxford-IIIT Pet",
    )


def test_a_keras_run_is_scored_like_its_export(striped_pets: Path, tmp_path: Path) -> None:
    import keras

    run = tmp_path / "unet"
    run.mkdir()
    network = keras.Sequential([keras.Input((None, None, 3)), keras.layers.Conv2D(3, 1)])
    network.set_weights([SURE[np.newaxis, np.newaxis], np.zeros(3)])
    network.save(run / "model.keras")
    describe(run, "keras", "segmentation", "NHWC")

    figures = score(run, root=striped_pets, out=tmp_path / "out")

    check_striped_pets(figures)
    assert figures["model"] == "unet"
    with pytest.raises(UserError, match="exported models"):  # it has no card
        score(run, "--write", root=striped_pets, out=tmp_path / "out")


def test_a_timm_run_gives_probabilities(tmp_path: Path) -> None:
    import timm
    import torch
    from timm.models import save_for_hf

    network = timm.create_model("mobilenetv2_050", num_classes=3).eval()
    save_for_hf(network, str(tmp_path), safe_serialization=True)
    describe(tmp_path, "timm", "classification", "NCHW")
    batch = np.random.default_rng(0).normal(size=(2, 3, SIDE, SIDE)).astype(np.float32)

    measured = models.open_model(str(tmp_path)).predict(batch)

    with torch.inference_mode():
        expected = torch.softmax(network(torch.from_numpy(batch)), dim=1).numpy()
    np.testing.assert_allclose(measured, expected, atol=1e-5)


def test_an_smp_run_gives_probabilities_with_the_classes_last(tmp_path: Path) -> None:
    import segmentation_models_pytorch as smp
    import torch

    network = smp.Unet(
        "mobilenet_v2", encoder_weights=None, decoder_channels=(16, 8, 8, 8, 8), classes=3
    ).eval()
    network.save_pretrained(tmp_path)
    describe(tmp_path, "smp", "segmentation", "NCHW")
    batch = np.random.default_rng(0).normal(size=(2, 3, SIDE, SIDE)).astype(np.float32)

    model = models.open_model(str(tmp_path))

    with torch.inference_mode():
        expected = torch.softmax(network(torch.from_numpy(batch)), dim=1).permute(0, 2, 3, 1)
    assert model.labels == pets.MASK_CLASSES
    np.testing.assert_allclose(model.predict(batch), expected.numpy(), atol=1e-5)


@pytest.mark.parametrize(
    ("words", "problem"),
    [
        (["pet", "--size", "64", "--write"], "at their own size"),
        (["pet", "--names", "NAMES", "--split", "test"], "names no picture"),
        (["nuclei", "--split", "trainval"], "--split must be one of train, validation, test"),
        (["none"], "no model 'none'"),
        (["RUN"], "has no network"),
    ],
)
def test_what_cannot_be_measured_is_reported(
    words: list[str],
    problem: str,
    pet_card: Path,
    striped_pets: Path,
    tmp_path: Path,
) -> None:
    write_model(pet_card.parent, "nuclei", SURE, [], data="DSB 2018 nuclei")
    (tmp_path / "nothing.txt").write_text("dog_1\n")
    describe(tmp_path, "scikit-learn", "classification", "NHWC")
    places = {"NAMES": str(tmp_path / "nothing.txt"), "RUN": str(tmp_path)}
    words = [places.get(word, word) for word in words]

    with pytest.raises((UserError, ModelError), match=problem):
        evaluate.main(
            [
                *words,
                "--models",
                str(pet_card.parent),
                "--root",
                str(striped_pets),
                "--out",
                str(tmp_path / "out"),
            ]
        )

    assert not (tmp_path / "out").exists()
