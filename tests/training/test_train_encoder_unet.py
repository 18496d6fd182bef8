import json
from pathlib import Path

import numpy as np
import pytest
import torch

from models import segmentation, store
from models.images import open_photo
from models.preprocessing import prepare
from training import encoder_unet, export, pets, train_encoder_unet
from training.errors import UserError

import segmentation_models_pytorch as smp  # isort: skip


def words(root: Path, run: Path, *more: str) -> list[str]:
    return [
        *("--root", str(root), "--out", str(run), "--size", "64", "--dry-run"),
        *("--encoder", "tu-test_efficientnet", "--encoder-weights", "none"),
        *more,
    ]


@pytest.fixture(scope="module")
def run(tiny_pets: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    arguments = words(tiny_pets, tmp_path_factory.mktemp("runs") / "encoder-unet")
    return train_encoder_unet.train(**vars(train_encoder_unet.parse_arguments(arguments)))


def test_a_run_ends_in_a_network_the_package_loads_and_pictures(run: Path) -> None:
    model = smp.from_pretrained(run)
    assert model.eval()(torch.zeros(1, 3, 64, 96)).shape == (1, 3, 64, 96)
    facts = json.loads((run / "run.json").read_text())
    assert 0 <= facts["held_out"]["mean_iou"] <= 1
    for name in ("curves.png", "predictions.png", "history.csv"):
        assert (run / name).stat().st_size > 0


def answer(run: Path, batch: np.ndarray, offsets: tuple[float, ...]) -> np.ndarray:
    """How the framework answers, with constants added to the classes' logits."""
    with torch.inference_mode():
        logits = smp.from_pretrained(run).eval()(torch.from_numpy(batch))
        return (logits + torch.tensor(offsets)[:, None, None]).softmax(dim=1).numpy()


def test_its_export_is_served_like_the_framework_answers(
    run: Path, tiny_pets: Path, tmp_path: Path
) -> None:
    words = [str(run), "fine", "--models", str(tmp_path), "--root", str(tiny_pets)]
    export.main([*words, "--offsets", '{"border": -0.3, "background": 0.1}'])
    offsets = (0.0, 0.1, -0.3)
    assert store.read_card("fine", tmp_path).facts["output"]["offsets"]["border"] == -0.3
    segmenter = segmentation.Segmenter(*store.load("fine", "segmentation", tmp_path))
    photo = open_photo(pets.split(tiny_pets, "test")[0].photo)
    batch = prepare(photo, segmenter.card.input)
    expected = np.moveaxis(answer(run, batch, offsets), 1, 3)
    np.testing.assert_allclose(segmenter.run(batch), expected, atol=1e-4)
    assert segmenter.predict(photo).probabilities.shape == (*photo.shape[:2], 3)
    assert segmenter.any_size
    larger = np.random.default_rng(0).normal(size=(2, 3, 96, 160)).astype(np.float32)
    expected = np.moveaxis(answer(run, larger, offsets), 1, 3)
    np.testing.assert_allclose(segmenter.run(larger), expected, atol=1e-4)


@pytest.mark.parametrize(
    ("offsets", "message"),
    [('{"tail": 1}', "not 'tail'"), ('{"border": "much"}', "must be a number")],
)
def test_offsets_are_of_its_classes(
    offsets: str, message: str, run: Path, tiny_pets: Path, tmp_path: Path
) -> None:
    words = [str(run), "fine", "--models", str(tmp_path / "none"), "--root", str(tiny_pets)]
    with pytest.raises(UserError, match=message):
        export.main([*words, "--offsets", offsets])
    assert not (tmp_path / "none").exists()


def test_a_larger_run_starts_from_a_smaller_one(
    run: Path, tiny_pets: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(train_encoder_unet, "FROZEN", 1.0)
    arguments = words(tiny_pets, tmp_path / "larger", "--start-from", str(run), "--size", "96")
    larger = train_encoder_unet.train(**vars(train_encoder_unet.parse_arguments(arguments)))
    before, after = (smp.from_pretrained(path).encoder.state_dict() for path in (run, larger))
    for name, values in before.items():
        torch.testing.assert_close(after[name], values)


def test_a_run_that_goes_on_at_the_same_size_keeps_the_statistics(
    run: Path, tiny_pets: Path, tmp_path: Path
) -> None:
    arguments = words(tiny_pets, tmp_path / "more", "--start-from", str(run))
    longer = train_encoder_unet.train(**vars(train_encoder_unet.parse_arguments(arguments)))
    before, after = (smp.from_pretrained(path).decoder.state_dict() for path in (run, longer))
    statistics = [name for name in before if name.endswith(("running_mean", "running_var"))]
    assert statistics
    for name in statistics:
        torch.testing.assert_close(after[name], before[name])
    assert any(not torch.equal(after[name], before[name]) for name in before)


def test_the_loss_is_cross_entropy_plus_dice() -> None:
    torch.manual_seed(0)
    logits, truth = torch.randn(2, 3, 4, 4), torch.randint(0, 3, (2, 4, 4))
    probabilities = logits.softmax(dim=1)
    target = torch.nn.functional.one_hot(truth, 3).movedim(3, 1)
    overlap = (probabilities * target).sum(dim=(0, 2, 3))
    dice = 2 * overlap / (probabilities + target).sum(dim=(0, 2, 3))
    expected = torch.nn.functional.cross_entropy(logits, truth) + 1 - dice.mean()
    loss = encoder_unet.DiceCrossEntropy()(logits, truth)
    torch.testing.assert_close(loss, expected)
