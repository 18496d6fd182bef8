import json
from pathlib import Path

import numpy as np
import pytest
import timm
import torch
from safetensors.torch import load_file

from models.images import open_photo
from models.preprocessing import prepare
from training import pets, train_breeds

HALF = {"mean": (0.5, 0.5, 0.5), "std": (0.5, 0.5, 0.5)}


def test_held_out_pictures_are_prepared_as_at_serving(tiny_pets: Path) -> None:
    train_part, held_out = pets.split(tiny_pets, "train"), pets.split(tiny_pets, "validation")
    labels = [breed.name for breed in pets.breeds(tiny_pets)]
    spec = train_breeds.input_spec(HALF, 64)
    loaders = train_breeds.data_loaders(train_part, held_out, labels, spec, 4, workers=0)
    photos, breeds = next(iter(loaders.valid))
    served = np.concatenate([prepare(open_photo(example.photo), spec) for example in held_out])
    np.testing.assert_allclose(photos.numpy(), served[: len(photos)], atol=1e-4)
    assert breeds.tolist() == [example.breed for example in held_out[: len(breeds)]]


def test_training_pictures_are_augmented_at_the_input_size(tiny_pets: Path) -> None:
    example = pets.split(tiny_pets, "train")[0]
    spec = train_breeds.input_spec(HALF, 64)
    loaders = train_breeds.data_loaders([example] * 8, [example], ["a", "b", "c"], spec, 8, 0)
    photos, _ = next(iter(loaders.train))
    assert photos.shape == (8, 3, 64, 64)
    assert not torch.allclose(photos[0], photos[1])


def test_layer_groups_hold_every_parameter_once() -> None:
    model = timm.create_model("mobilenetv2_100", num_classes=3)
    groups = train_breeds.layer_groups(model)
    assert len(groups) == 3
    grouped = [id(parameter) for group in groups for parameter in group]
    assert sorted(grouped) == sorted(id(parameter) for parameter in model.parameters())
    assert len(groups[2]) == 2


def test_a_resumed_run_goes_on_where_it_stopped(tiny_pets: Path, tmp_path: Path) -> None:
    """An interruption after the first epoch; the second run does the second epoch only."""
    words = [
        *("--root", str(tiny_pets), "--out", str(tmp_path / "run"), "--size", "64"),
        *("--no-pretrained", "--arch", "test_vit", "--batch", "4", "--workers", "0"),
        *("--epochs", "2"),
    ]
    write = train_breeds.History.after_epoch

    def write_then_stop(callback: train_breeds.History) -> None:
        write(callback)
        raise KeyboardInterrupt

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(train_breeds.History, "after_epoch", write_then_stop)
        with pytest.raises(KeyboardInterrupt):
            train_breeds.train(train_breeds.parse_arguments(words))
    run = train_breeds.train(train_breeds.parse_arguments([*words, "--resume"]))
    epochs = [line.split(",")[0] for line in (run / "history.csv").read_text().splitlines()]
    assert epochs == ["epoch", "0", "1"]

    config = json.loads((run / "config.json").read_text())
    assert config["architecture"] == "test_vit"
    assert config["label_names"] == ["Siamese", "Beagle", "Pug", "Bengal", "Boxer", "Persian"]
    assert load_file(run / "model.safetensors")
    model = timm.create_model(f"local-dir:{run}", pretrained=True)
    assert model.num_classes == 6
    for name in ("curves.png", "predictions.png", "run.json"):
        assert (run / name).stat().st_size > 0
