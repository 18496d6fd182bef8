"""Models are found by their cards, and only what a card describes is run."""

import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from models import store
from models.cards import ModelError, OtherClass, Refusal

AddModel = Callable[..., Path]

EMBEDDED_CARDS = sorted(store.EMBEDDED.glob("*.json"))
needs_weights = pytest.mark.skipif(
    not {"pet", "breeds"} <= {path.stem for path in EMBEDDED_CARDS},
    reason="the two models are not embedded yet",
)


def change_card(path: Path, **changes: Any) -> None:  # noqa: ANN401
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


def test_a_card_is_read(add_segmenter: AddModel) -> None:
    path = add_segmenter("pet", height=48, width=64, layout="NCHW", output_layout="NCHW", note="x")

    card = store.read_card("pet")

    facts = json.loads(path.read_text())
    assert card.name == "pet"
    assert card.task == "segmentation"
    assert [label.name for label in card.labels] == ["pet", "background", "border"]
    assert [label.species for label in card.labels] == [None, None, None]
    assert card.input.batch_shape(1) == (1, 3, 48, 64)
    assert (card.input.resize, card.input.interpolation) == ("squash", "bilinear")
    assert tuple(card.input.mean) == tuple(card.input.std) == (0.5, 0.5, 0.5)
    assert card.output_layout == "NCHW"
    assert card.sha256 == hashlib.sha256(path.with_suffix(".onnx").read_bytes()).hexdigest()
    assert card.facts == facts
    assert card.facts["note"] == "x"


def test_a_card_says_the_species_of_breeds(add_classifier: AddModel) -> None:
    labels = [{"name": "Bengal", "species": "cat"}, {"name": "Pug", "species": "dog"}]
    add_classifier(labels=labels, weights=np.ones((2, 3)))

    assert [vars(label) for label in store.read_card("breeds").labels] == labels


def test_models_are_looked_up_where_the_environment_says(
    tmp_path: Path, fresh_models: pytest.MonkeyPatch
) -> None:
    assert store.source() == store.EMBEDDED

    fresh_models.setenv("PETSCOPE_MODELS", "")
    assert store.source() == store.EMBEDDED

    fresh_models.setenv("PETSCOPE_MODELS", str(tmp_path))
    with pytest.raises(ModelError, match="no model in the folder"):
        store.source()


def copy_model(folder: Path, name: str, to: str, **facts: object) -> None:
    """An embedded model under another name, with other facts in its card."""
    card = json.loads((store.EMBEDDED / f"{name}.json").read_text())
    card.pop("default", None)
    (folder / f"{to}.json").write_text(json.dumps(card | facts))
    (folder / f"{to}.onnx").symlink_to(store.EMBEDDED / f"{name}.onnx")


def test_missing_models_come_from_the_embedded_ones(
    tmp_path: Path, fresh_models: pytest.MonkeyPatch
) -> None:
    copy_model(tmp_path, "breeds", "mine")
    (tmp_path / "._mine.json").write_bytes(b"a note of macOS")
    fresh_models.setenv("PETSCOPE_MODELS", str(tmp_path))
    assert store.default("classification") == "mine"
    assert store.default("segmentation") == "pet-fine"
    assert set(store.names()) == {"mine", "pet", "pet-fine", "nuclei", "finder"}
    card, _ = store.load("mine", "classification")
    assert card.labels == store.read_card("breeds", store.EMBEDDED).labels


@pytest.mark.parametrize(
    ("facts", "pets"),
    [({}, "pet-fine"), ({"subject": "pet"}, "a-mask"), ({"subject": "cell"}, "pet-fine")],
)
def test_a_model_of_something_else_is_never_taken_for_the_pets(
    facts: dict[str, str], pets: str, tmp_path: Path, fresh_models: pytest.MonkeyPatch
) -> None:
    copy_model(tmp_path, "nuclei", "a-mask", **facts)
    fresh_models.setenv("PETSCOPE_MODELS", str(tmp_path))
    assert store.default("segmentation") == pets
    assert store.read_card("a-mask").subject == facts.get("subject", "nucleus")
    assert store.default("segmentation", store.read_card("a-mask").subject) == "a-mask"


def test_models_of_a_task_are_named_in_order(
    folder: Path, add_segmenter: AddModel, add_classifier: AddModel
) -> None:
    assert store.names("segmentation") == []
    for name in ("pet", "nuclei", "a.b"):
        add_segmenter(name)
    add_classifier("breeds")
    (folder / "README.md").touch()

    assert store.names("segmentation") == ["a.b", "nuclei", "pet"]
    assert store.names("classification") == ["breeds"]
    assert store.names("classification", folder) == ["breeds"]
    assert store.names("classification", folder / "none") == []


def test_a_model_is_loaded_from_its_folder(
    tmp_path_factory: pytest.TempPathFactory, add_segmenter: AddModel
) -> None:
    path = add_segmenter("pet", height=8, width=6)

    card, network = store.load("pet", "segmentation")
    output = network.run(np.zeros((2, 8, 6, 3), np.float32))

    assert card == store.read_card("pet")
    assert network.device in ("CPU", "GPU")
    assert output.shape == (2, 8, 6, 3)
    assert output.dtype == np.float32
    assert store.load("pet", "segmentation", path.parent)[0] == card
    with pytest.raises(ModelError, match="no model 'pet'"):
        store.load("pet", "segmentation", tmp_path_factory.mktemp("empty"))


def test_a_model_for_another_task_is_refused(
    add_segmenter: AddModel, add_classifier: AddModel
) -> None:
    add_segmenter("pet")
    add_classifier("breeds")

    with pytest.raises(ModelError, match="'pet' is for segmentation, not for classification"):
        store.load("pet", "classification")
    with pytest.raises(ModelError, match="'breeds' is for classification, not for segmentation"):
        store.load("breeds", "segmentation")


@pytest.mark.usefixtures("folder")
def test_a_missing_model_is_named() -> None:
    with pytest.raises(ModelError, match="no model 'lion'"):
        store.read_card("lion")
    with pytest.raises(ModelError, match="no model 'lion'"):
        store.load("lion", "segmentation")


def test_a_card_without_its_network_is_refused(add_segmenter: AddModel) -> None:
    add_segmenter("pet").with_suffix(".onnx").unlink()

    with pytest.raises(ModelError, match=r"pet\.onnx cannot be read"):
        store.load("pet", "segmentation")


@pytest.mark.parametrize(
    "damage",
    [
        lambda content: content[:-1],
        lambda content: content + b"\0",
        lambda content: b"",
        lambda content: bytes([content[0] ^ 1]) + content[1:],
        lambda content: content[:-9] + bytes([content[-9] ^ 128]) + content[-8:],
    ],
    ids=["cut off", "longer", "empty", "first bit", "late bit"],
)
def test_damaged_bytes_are_never_run(
    damage: Callable[[bytes], bytes], add_segmenter: AddModel
) -> None:
    path = add_segmenter("pet").with_suffix(".onnx")
    path.write_bytes(damage(path.read_bytes()))

    with pytest.raises(ModelError, match="SHA-256 is not the card's"):
        store.load("pet", "segmentation")


def test_a_network_that_was_swapped_is_refused(add_segmenter: AddModel) -> None:
    first = add_segmenter("pet")
    second = add_segmenter("other", weights=np.ones((3, 3)))
    first.with_suffix(".onnx").write_bytes(second.with_suffix(".onnx").read_bytes())

    with pytest.raises(ModelError, match="damaged or was replaced"):
        store.load("pet", "segmentation")


def test_a_network_that_cannot_be_run_is_refused_in_one_sentence(add_segmenter: AddModel) -> None:
    path = add_segmenter("pet")
    path.with_suffix(".onnx").write_bytes(b"no network")
    change_card(path, sha256=hashlib.sha256(b"no network").hexdigest())

    with pytest.raises(ModelError, match=r"^The model 'pet' cannot be run: .+\.$"):
        store.load("pet", "segmentation")


def test_a_card_of_an_unknown_task_is_refused(add_segmenter: AddModel) -> None:
    change_card(add_segmenter("pet"), task="poetry")
    with pytest.raises(ModelError, match="task must be segmentation or classification"):
        store.read_card("pet")


def test_a_json_file_without_a_network_is_no_model(folder: Path, add_segmenter: AddModel) -> None:
    add_segmenter("pet")
    (folder / "config.json").write_text('{"architecture": "test_vit"}')
    assert store.names() == ["pet"]


@pytest.mark.parametrize("field", ["task", "labels", "input", "output", "sha256"])
def test_a_card_that_lacks_a_field_is_refused(field: str, add_segmenter: AddModel) -> None:
    path = add_segmenter("pet")
    card = json.loads(path.read_text())
    del card[field]
    path.write_text(json.dumps(card))

    with pytest.raises(ModelError, match=field):
        store.read_card("pet")


@pytest.mark.parametrize(
    "field", ["height", "width", "resize", "interpolation", "mean", "std", "layout"]
)
def test_an_input_that_lacks_a_fact_is_refused(field: str, add_segmenter: AddModel) -> None:
    path = add_segmenter("pet")
    spec = json.loads(path.read_text())["input"]
    del spec[field]
    change_card(path, input=spec)

    with pytest.raises(ModelError, match=field):
        store.read_card("pet")


@pytest.mark.parametrize(
    "changes",
    [
        {"labels": None},
        {"labels": ["pet", "background"]},
        {"labels": [{"species": "cat"}]},
        {"labels": [{"name": "pet", "colour": "red"}]},
        {"input": []},
        {"input": {"size": 128}},
        {"output": "NHWC"},
        {"output": {}},
    ],
    ids=repr,
)
def test_a_card_of_another_shape_is_refused(
    changes: dict[str, Any], add_segmenter: AddModel
) -> None:
    change_card(add_segmenter("pet"), **changes)

    with pytest.raises(ModelError, match="cannot be used"):
        store.load("pet", "segmentation")


HEAD = {
    "names": ["pug", "cup"],
    "kinds": [
        {"kind": "dog", "first": 0, "last": 0},
        {"kind": "thing", "first": 1, "last": 1},
    ],
    "breeds": {"Pug": 0},
}
RULE = {"agreement": 2.0, "intercept": 1.0, "threshold": 0.4}


def test_a_second_head_and_a_rule_about_it_are_read(add_classifier: AddModel) -> None:
    add_classifier(otherwise=HEAD, refusal={"rule": RULE})

    card = store.read_card("breeds")

    assert card.refusal == Refusal({"agreement": 2.0}, 1.0, 0.4)
    head = card.second_head
    assert head is not None
    assert head.classes == (
        OtherClass("pug", "dog", "Pug"),
        OtherClass("cup", "thing"),
    )
    # Until more is known, a breed is seen as itself.
    assert (head.temperature, head.seen_as) == (1.0, {"Pug": (0,)})


@pytest.mark.parametrize(
    "changes",
    [
        {"refusal": {"rule": RULE}},  # it looks at what only a second head has
        {"refusal": {"rule": {**RULE, "beauty": 1.0}}, "otherwise": HEAD},
        {"refusal": {"rule": {"intercept": 1.0}}},
        {"refusal": {"rule": [1, 2]}},
        {"otherwise": {**HEAD, "kinds": []}},
        {"otherwise": "ImageNet"},
    ],
    ids=repr,
)
def test_a_rule_or_head_of_another_shape_is_refused(
    changes: dict[str, Any], add_classifier: AddModel
) -> None:
    change_card(add_classifier(), **changes)

    with pytest.raises(ModelError, match="cannot be used"):
        store.read_card("breeds")


def test_look_alikes_are_those_of_the_largest_split(add_classifier: AddModel) -> None:
    few, many = ({"Pug or Boxer": {"pictures": n, "right": n - 6}} for n in (8, 40))
    metrics = {
        "validation": {"pictures": 369, "look_alikes": few},
        "test": {"pictures": 3669, "look_alikes": many},
        "test, dogs": {"pictures": 9999},
    }
    labels = [{"name": name} for name in ("Pug", "Boxer", "Beagle")]
    add_classifier(labels=labels, metrics=metrics)

    card = store.read_card("breeds")

    assert card.look_alikes("Boxer", "Pug") == card.look_alikes("Pug", "Boxer") == (40, 34)
    assert card.look_alikes("Pug", "Beagle") is None


@pytest.mark.parametrize("text", [b"", b"{", b"[]", b"null", b"\xff\xfe\x00", b'"pet"'], ids=repr)
def test_a_card_that_is_no_card_is_refused(text: bytes, folder: Path) -> None:
    (folder / "pet.json").write_bytes(text)

    with pytest.raises(ModelError, match=r"pet\.json cannot be used"):
        store.read_card("pet")


@needs_weights
@pytest.mark.usefixtures("fresh_models")
def test_the_embedded_models_are_complete() -> None:
    assert "pet" in store.names("segmentation")
    assert "breeds" in store.names("classification")
    networks = {path.stem for path in store.EMBEDDED.glob("*.onnx")}
    assert networks == {path.stem for path in EMBEDDED_CARDS}
    for name in networks:
        store.load(name, store.read_card(name).task)


@needs_weights
@pytest.mark.usefixtures("fresh_models")
def test_the_embedded_cards_say_what_a_reader_wants() -> None:
    for path in EMBEDDED_CARDS:
        facts = json.loads(path.read_text())
        assert facts["license"] == "apache-2.0"
        assert facts["parameters"] > 10_000
        assert facts["architecture"]
        assert facts["framework"]
        assert facts["training"]["data"]
        if facts["task"] == "detection":  # trained by others, whom the card names
            assert facts["starting_weights"]["project"] == "NanoDet"
        else:
            assert facts["training"]["command"].startswith("python -m training.")
        assert facts["metrics"]
        assert facts["export"]["largest_difference"] <= 1e-3
    assert [label.name for label in store.read_card("pet").labels] == [
        "pet",
        "background",
        "border",
    ]
    labels = store.read_card("breeds").labels
    assert len({label.name for label in labels}) == 37
    assert sum(label.species == "cat" for label in labels) == 12
    assert sum(label.species == "dog" for label in labels) == 25


@pytest.mark.parametrize("word", ["resize", "interpolation", "layout", "color"])
def test_a_card_with_an_unknown_word_is_refused(add_segmenter: AddModel, word: str) -> None:
    path = add_segmenter("pet")
    facts = json.loads(path.read_text())
    change_card(path, input={**facts["input"], word: "sideways"})
    with pytest.raises(ModelError, match=word):
        store.read_card("pet")
