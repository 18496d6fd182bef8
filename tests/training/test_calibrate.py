"""The temperature for photos that have no close relatives among those of the training."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from scipy.special import softmax

from models.images import open_photo
from models.preprocessing import InputSpec, prepare
from training import calibrate, pets
from training.calibration import fit_temperature
from training.errors import UserError
from training.evaluation.models import Model, open_model

SPEC = InputSpec(16, 16, "squash", "bilinear", (0.5,) * 3, (0.5,) * 3, layout="NCHW")


class Colours(torch.nn.Module):
    """Sees the mean colours of a photo."""

    def forward_features(self, batch: torch.Tensor) -> torch.Tensor:
        return batch

    def forward_head(self, maps: torch.Tensor, pre_logits: bool) -> torch.Tensor:
        assert pre_logits
        return maps.mean(dim=(2, 3))


def test_the_model_s_temperature_grows_as_that_of_features_which_saw_none_of_the_photos(
    tiny_pets: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(calibrate, "_start", lambda *_: Colours())
    labels = tuple(breed.name for breed in pets.breeds(tiny_pets))

    def predict(batch: np.ndarray) -> np.ndarray:
        return softmax(np.tile(batch.mean(axis=(2, 3)), 2), axis=1)

    training = {"data": pets.NAME, "task": "classification", "split": "train"}
    model = Model("mine", "classification", labels, SPEC, training, None, predict)

    found: Any = calibrate.calibrate(model, root=tiny_pets)

    held_out = pets.split(tiny_pets, "validation")
    batch = np.concatenate([prepare(open_photo(each.photo), SPEC) for each in held_out])
    truth = np.array([each.label for each in held_out])
    assert found["held_out"] == pytest.approx(fit_temperature(np.log(predict(batch)), truth))
    ratio = found["ranges"]["temperature"] / found["same_photos"]["temperature"]
    assert found["harder"] == pytest.approx(ratio)
    assert found["temperature"] == pytest.approx(found["held_out"] * ratio)
    assert found["same_photos"]["pictures"] == len(held_out)
    assert found["ranges"]["pictures"] == len(pets.split(tiny_pets, "trainval"))


def test_only_classifiers_are_calibrated(tiny_pets: Path) -> None:
    masks = Model("masks", "segmentation", ("pet",), SPEC, {}, None, lambda batch: batch)
    with pytest.raises(UserError, match="only classifiers are calibrated"):
        calibrate.calibrate(masks, root=tiny_pets)


def test_a_second_opinion_is_calibrated_before_it_is_added(tiny_pets: Path) -> None:
    with pytest.raises(UserError, match="calibrate both before they are joined"):
        calibrate.calibrate(open_model("breeds"), root=tiny_pets)
