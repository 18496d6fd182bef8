"""The commands of docs/own-model.md, in their order, on small pictures and small networks."""

import json
import re
import shlex
from collections.abc import Callable, Iterator, Sequence
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import timm
from PIL import Image
from safetensors.torch import save_file

from models import store

ROOT = Path(__file__).parents[2]
DOCUMENT = ROOT / "docs" / "own-model.md"
PETS = {"minka": "cat_chelsea.png", "rex": "german_shepherd.jpg"}
OTHERS = ("coffee_cup.jpg", "coins.png", "photographer.png", "cow.jpg")

# Options that make each script small; the rest of its command comes from the document.
SMALL = {
    "train_breeds": ["--arch", "test_efficientnet", "--size", "64", "--batch", "8"],
    "train_encoder_unet": [
        *("--encoder", "tu-test_efficientnet", "--encoder-weights", "none", "--size", "32"),
        *("--epochs", "1", "--batch", "4"),
    ],
}


def commands() -> Iterator[list[str]]:
    """The arguments of each command in the document that runs a training script."""
    text = DOCUMENT.read_text().replace("\\\n", " ")
    for line in re.findall(r"^    \.venv/bin/python -m training\.(.*)$", text, re.MULTILINE):
        yield shlex.split(line)


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with many pictures of two pets, other things, and cups with masks."""
    random = np.random.default_rng(0)
    for name, example in PETS.items():
        _crops(ROOT / "examples" / example, tmp_path / "mypets" / name, 10, random)
    for example in OTHERS:
        _crops(ROOT / "examples" / example, tmp_path / "others", 2, random)
    for number in range(10):
        photo = random.integers(0, 60, (40, 48, 3), dtype=np.uint8)
        y, x = random.integers(6, 18, 2)
        photo[y : y + 16, x : x + 20, 0] += 180
        mask = np.zeros((40, 48), np.uint8)
        mask[y : y + 16, x : x + 20] = 255
        (tmp_path / "cups").mkdir(exist_ok=True)
        Image.fromarray(photo).save(tmp_path / "cups" / f"{number}.jpg")
        Image.fromarray(mask).save(tmp_path / "cups" / f"{number}.png")
    weights = timm.create_model("test_efficientnet").state_dict()
    save_file(weights, tmp_path / "mobilenetv2_100.safetensors")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def _crops(source: Path, folder: Path, count: int, random: np.random.Generator) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    with Image.open(source) as image:
        whole = image.convert("RGB")
    whole.thumbnail((160, 160))
    for number in range(count):
        left, top = random.uniform(0, 0.12, 2)
        box = (left * whole.width, top * whole.height, 0.95 * whole.width, 0.97 * whole.height)
        part = whole.resize((128, 128), box=box)
        part.save(folder / f"{source.stem}-{number}.png")


def run(words: Sequence[str]) -> None:
    script, *options = words
    if script == "train_breeds" and "--pretrained-cfg" not in options:
        options.append("--no-pretrained")
    epochs = ["--epochs", "1"] if script == "train_breeds" else []
    main: Callable[[list[str]], object] = import_module(f"training.{script}").main
    main([*options, *SMALL.get(script, []), *epochs])


def test_the_page_s_commands_lead_from_pictures_to_a_published_model(
    home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = {path: path.read_bytes() for path in home.rglob("*") if path.is_file()}
    scripts = []
    for words in commands():
        run(words)
        scripts.append(words[0])
    assert scripts == [
        *(["train_breeds"] * 4),
        *("export", "compress", "evaluate", "refusal", "train_encoder_unet", "export", "publish"),
    ]
    said = capsys.readouterr().out
    folder = home / "mypets"
    asked = f"--models runs/exported --folder {folder} --others-folder OTHERS --write"
    assert f"-m training.refusal mypets {asked}" in said
    assert re.search(r"kB  model\.safetensors", said)

    facts = json.loads((home / "runs/mypets/run.json").read_text())
    assert facts["held_out"]["pictures"] == 4
    assert (home / "runs/mypets-dry-run/run.json").exists()
    exported = home / "runs" / "exported"
    card = store.read_card("mypets", exported)
    assert [label.name for label in card.labels] == ["minka", "rex"]
    assert card.refusal is not None
    assert card.facts["metrics"]["test"]["pictures"] == 4
    cups = store.read_card("cups", exported)
    assert (cups.task, cups.subject) == ("segmentation", "cups")
    for path, content in before.items():
        assert path.read_bytes() == content, path
    network: Any = timm.create_model(f"local-dir:{home / 'runs/mypets'}", pretrained=True)
    assert network.pretrained_cfg["label_names"] == ["minka", "rex"]
