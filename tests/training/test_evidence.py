"""Whether the evidence is on the pet, for networks whose answers are known."""

import json
from pathlib import Path

import numpy as np
import pytest

import documents
from models import pipeline, store
from models.breeds import Classification
from models.cards import Label, ModelError
from models.pipeline import Pet
from models.regions import Region
from training import evidence, pets
from training.evaluation import tables

LABELS = (Label("Pug", "dog"), Label("Sphynx", "cat"))


def pet(activation: np.ndarray | None) -> Pet:
    answer = Classification(np.array([0.2, 0.8], np.float32), LABELS, activation)
    return Pet(Region.of_mask(np.ones((100, 200), bool)), (30, 10, 110, 70), (), answer)


def test_the_peak_is_a_place_of_the_photo() -> None:
    activation = np.zeros((2, 6, 8), np.float32)
    activation[1, 4, 6] = 3  # of the most probable breed
    activation[0, 0, 0] = 9

    row, column = evidence.peak(pet(activation))

    assert (row, column) == pytest.approx((10 + 45, 30 + 65), abs=1)


def test_a_model_without_maps_is_reported() -> None:
    with pytest.raises(ModelError, match="no class-activation maps"):
        evidence.peak(pet(None))


def test_photos_are_counted_by_where_their_peak_lies(
    tiny_pets: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("breeds", "pet"):
        (tmp_path / f"{name}.onnx").symlink_to(store.EMBEDDED / f"{name}.onnx")
        (tmp_path / f"{name}.json").write_bytes((store.EMBEDDED / f"{name}.json").read_bytes())
    (tmp_path / "README.md").write_text(f"{tables.START}{tables.END}")
    monkeypatch.setattr(documents, "ROOT", tmp_path)
    held_out = pets.split(tiny_pets, "validation")
    trimaps = [pets.read_trimap(example.trimap) for example in held_out]
    # The first photo has no pet; in the second the peak is on the pet, in the others it is not.
    inside = tuple(int(place) for place in np.argwhere(trimaps[1] == pets.PET)[0])
    peaks = iter([inside, *[(0, 0)] * len(held_out)])
    monkeypatch.setattr(evidence, "peak", lambda _: next(peaks))
    found = iter([[], *[[None]] * len(held_out)])
    monkeypatch.setattr(pipeline, "name_pets", lambda *_: next(found))

    evidence.main(["breeds", "--models", str(tmp_path), "--root", str(tiny_pets), "--write"])

    facts = json.loads((tmp_path / "breeds.json").read_text())["evidence"]
    assert facts["pictures"] == len(held_out) - 1
    assert facts["without_pet"] == 1
    assert facts["on_pet"] == pytest.approx(1 / (len(held_out) - 1))
