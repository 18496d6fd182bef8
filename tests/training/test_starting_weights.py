"""Where starting weights come from: what runs note, what cards and pages say, what is published."""

import json
import re
import shutil
from pathlib import Path

import numpy as np
import pytest
from huggingface_hub import ModelCard, snapshot_download
from safetensors.numpy import load_file, save_file

import documents
from models import store
from tests.hub import FakeHub
from training import publish, starting_weights
from training.evaluation import tables
from training.publishing import readme
from training.publishing.errors import PublishError
from training.runs import write_facts

START = {
    "project": "timm",
    "network": "test_vit",
    "license": "apache-2.0",
    "repository": "timm/test_vit.r160_in1k",
    "file": "start.safetensors",
}
CARDS = sorted(store.EMBEDDED.glob("*.json"))


@pytest.mark.parametrize("path", CARDS, ids=lambda path: path.stem)
def test_an_embedded_card_says_whose_weights_it_started_from(path: Path) -> None:
    facts = json.loads(path.read_text())
    assert "starting_weights" in facts
    start = facts["starting_weights"]
    command = facts["training"].get("command", "")
    if start is None:
        assert not re.search(r"weights|pretrained", command)
        return
    assert start["license"] == "apache-2.0"
    assert start["project"]
    assert start["network"]
    assert start["how"].endswith(".")
    assert f"data/{start['file']}" in command
    page = readme.model_readme(store.read_card(path.stem, path.parent), "me/pets", [], [])
    assert "## Starting weights" in page
    assert f"of {start['project']}, licence apache-2.0" in page
    listed = [each for each in starting_weights.listed(facts) if each]
    repositories = [each["repository"] for each in listed if "repository" in each]
    if repositories:
        assert ModelCard(page).data["base_model"] == repositories


def test_a_second_opinion_s_weights_are_listed_after_the_first_network_s() -> None:
    other = {"project": "TensorFlow-Slim", "network": "mobilenetv2_100"}
    facts = {"starting_weights": START, "second_opinion": {"starting_weights": other}}
    assert starting_weights.listed(facts) == [START, other]
    assert starting_weights.listed({"second_opinion": {"starting_weights": other}}) == [other]
    assert starting_weights.listed({"starting_weights": START, "second_opinion": {}}) == [START]


def test_the_documents_have_the_table_of_the_cards() -> None:
    cards = [store.read_card(name, store.EMBEDDED) for name in store.names(folder=store.EMBEDDED)]
    path = documents.find(tables.START_OF_WEIGHTS)
    assert path.name == "training.md"
    table = tables.weights_table(cards)
    assert f"{tables.START_OF_WEIGHTS}\n{table}\n{tables.END_OF_WEIGHTS}" in path.read_text()


def test_a_run_notes_what_is_known_of_its_start() -> None:
    known = starting_weights.of_timm("tf_efficientnet_lite2")
    assert known["repository"] == "timm/tf_efficientnet_lite2.in1k"
    assert known["license"] == "apache-2.0"
    told = {"file": "/data/my.safetensors", "license": "mit"}
    assert starting_weights.of_timm("test_vit", told) == {
        "project": "timm",
        "network": "test_vit",
        "license": "mit",
        "file": "my.safetensors",
    }
    encoder = starting_weights.of_encoder("tu-mobilenetv2_100", "imagenet")
    assert encoder is not None
    assert encoder["repository"] == "timm/mobilenetv2_100.ra_in1k"
    assert starting_weights.of_encoder("resnet18", "imagenet") == {
        "project": "smp",
        "network": "resnet18",
        "repository": "smp-hub/resnet18.imagenet",
    }
    local = starting_weights.of_encoder("tu-test_vit", "data/x.safetensors")
    assert local == {"network": "test_vit", "file": "x.safetensors"}
    assert starting_weights.of_encoder("resnet18", "none") is None
    assert starting_weights.of_keras("none") is None
    keras = starting_weights.of_keras("imagenet")
    assert keras is not None
    assert keras["license"] == "apache-2.0"
    assert starting_weights.of_keras("a/b.weights.h5") == {
        "network": "MobileNetV2",
        "file": "b.weights.h5",
    }


def test_a_card_gets_what_its_runs_know_and_what_is_told() -> None:
    local = {"network": "test_vit", "file": "start.safetensors"}
    told = {"project": "timm", "license": "apache-2.0"}
    assert starting_weights.of_runs([{"start": local}], told) == {
        "starting_weights": {**local, **told}
    }
    assert starting_weights.of_runs([{"start": None}], {}) == {"starting_weights": None}
    assert starting_weights.of_runs([{"start": local}, {"start": local}], {}) == {
        "starting_weights": local
    }
    both = starting_weights.of_runs([{"start": local}, {"start": None}], {})
    assert both == {"starting_weights": [local, None]}
    assert starting_weights.listed(both) == [local, None]
    # A run of before it was noted.
    assert starting_weights.of_runs([{}], {}) == {}
    assert starting_weights.listed({}) == []


def test_a_run_that_goes_on_from_another_started_where_that_did(tmp_path: Path) -> None:
    spec = store.read_card("pet", store.EMBEDDED).input
    write_facts(tmp_path, input_spec=spec, start=START)
    assert starting_weights.of_run(tmp_path) == {"start": START}
    write_facts(tmp_path, input_spec=spec)
    assert starting_weights.of_run(tmp_path) == {}


def test_what_is_known_is_said_in_a_sentence() -> None:
    assert starting_weights.as_text(None) == "None: all weights began as random numbers."
    assert starting_weights.as_text(START) == (
        "`test_vit` of timm, licence apache-2.0, file `start.safetensors`, on the Hub as "
        "[timm/test_vit.r160_in1k](https://huggingface.co/timm/test_vit.r160_in1k)."
    )
    assert starting_weights.as_text({"file": "x", "how": "Ask."}) == "file `x`. Ask."


@pytest.fixture
def models(tiny_models: Path, tmp_path: Path) -> Path:
    """A models' folder whose card says where the breed model's weights come from."""
    folder = shutil.copytree(tiny_models, tmp_path / "models")
    card = folder / "breeds.json"
    card.write_text(json.dumps(json.loads(card.read_text()) | {"starting_weights": START}))
    return folder


@pytest.fixture
def weights(tmp_path: Path) -> Path:
    path = tmp_path / "start.safetensors"
    save_file({"kernel": np.arange(6, dtype=np.float32)}, path)
    return path


def words(models: Path, *starts: Path) -> list[str]:
    given = [word for start in starts for word in ("--starting-weights", str(start))]
    return ["model", "breeds", "--repo", "me/pets", "--models", str(models), *given]


def test_starting_weights_go_along_and_come_back(
    hub: FakeHub, models: Path, weights: Path, tmp_path: Path
) -> None:
    publish.main(words(models, weights))
    got = Path(snapshot_download("me/pets", local_dir=tmp_path / "got"))
    back = load_file(got / "starting-weights" / "start.safetensors")
    np.testing.assert_array_equal(back["kernel"], np.arange(6))
    page = (got / "README.md").read_text()
    assert "In this repository: `starting-weights/start.safetensors`." in page
    assert starting_weights.as_text(START) in page


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({}, "There are no starting weights"),
        (
            {"file": "other"},
            r"does not say that the model started from start\.safetensors: it name",
        ),
        ({"license": None}, r"does not say under which licence start\.safetensors is\."),
        (None, "it names no file"),
    ],
)
def test_weights_whose_licence_the_card_does_not_say_stay_here(
    change: dict[str, str | None] | None, sentence: str, models: Path, weights: Path
) -> None:
    if change == {}:
        weights.unlink()
    card = models / "breeds.json"
    start = None
    if change is not None:
        start = {key: value for key, value in {**START, **change}.items() if value}
    card.write_text(json.dumps(json.loads(card.read_text()) | {"starting_weights": start}))
    with pytest.raises(PublishError, match=sentence):
        publish.main([*words(models, weights), "--dry-run"])


def test_weights_that_could_run_code_are_refused(models: Path, weights: Path) -> None:
    weights.write_bytes(b"\x80\x04\x95no weights")
    with pytest.raises(PublishError, match="is not a safetensors file"):
        publish.main([*words(models, weights), "--dry-run"])
