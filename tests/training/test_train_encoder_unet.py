import json
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from models import segmentation, store
from models.images import open_photo
from models.preprocessing import prepare
from training import encoder_unet, export, mask_network, pets, train_encoder_unet
from training.errors import UserError
from training.evaluation.models import open_model
from training.half_size_unet import HalfSizeUnet

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


@pytest.fixture(scope="module")
def half_size(run: Path, tiny_pets: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of half size that started from the whole U-Net's, with a range held out."""
    out = tmp_path_factory.mktemp("runs") / "half"
    arguments = words(tiny_pets, out, "--half-size", "--start-from", str(run), "--fold", "11")
    return train_encoder_unet.train(**vars(train_encoder_unet.parse_arguments(arguments)))


def test_a_run_of_half_size_is_served_with_its_answer_over_the_whole_photo(
    half_size: Path, tiny_pets: Path, tmp_path: Path
) -> None:
    facts = json.loads((half_size / "run.json").read_text())
    assert "half size" in facts["architecture"]
    assert facts["fold"] == 11
    words = [str(half_size), "half", "--models", str(tmp_path), "--root", str(tiny_pets)]
    export.main([*words, "--close-size", "32", "--offsets", '{"border": -0.3}'])
    card = store.read_card("half", tmp_path)
    assert "half the input's" in card.facts["output"]["meaning"]
    assert (card.input.height, card.close_input.height) == (64, 32)
    segmenter = segmentation.Segmenter(*store.load("half", "segmentation", tmp_path))
    photo = open_photo(pets.split(tiny_pets, "test")[0].photo)
    batch = prepare(photo, segmenter.card.input)
    with torch.inference_mode():
        logits = HalfSizeUnet.from_pretrained(half_size).eval()(torch.from_numpy(batch))
    assert logits.shape == (1, 3, 32, 32)
    expected = (logits + torch.tensor([0, 0, -0.3])[:, None, None]).softmax(dim=1)
    answer = segmenter.run(batch)
    np.testing.assert_allclose(answer, np.moveaxis(expected.numpy(), 1, 3), atol=1e-4)
    enlarged = cv2.resize(answer[0], photo.shape[1::-1], interpolation=cv2.INTER_LINEAR)
    np.testing.assert_allclose(segmenter.predict(photo).probabilities, enlarged, atol=1e-5)


def test_a_run_of_half_size_is_measured_and_goes_on(
    half_size: Path, tiny_pets: Path, tmp_path: Path
) -> None:
    photo = open_photo(pets.split(tiny_pets, "test")[0].photo)
    model = open_model(str(half_size))
    (answer,) = model.predict(prepare(photo, model.input))
    assert answer.shape == (32, 32, 3)
    np.testing.assert_allclose(answer.sum(axis=2), 1, atol=1e-5)

    arguments = words(tiny_pets, tmp_path / "more", "--half-size", "--start-from", str(half_size))
    longer = train_encoder_unet.train(**vars(train_encoder_unet.parse_arguments(arguments)))
    network, spec, _ = mask_network.read_run(longer)
    with torch.inference_mode():
        logits = network.eval()(torch.zeros(1, 3, spec.height, spec.width))
    truth = torch.zeros(1, spec.height, spec.width, dtype=torch.long)
    assert torch.isfinite(mask_network.BelievedLoss()(logits, truth))


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


@pytest.mark.parametrize("option", ["--size", "--close-size"])
def test_its_input_can_be_halved_often_enough(
    option: str, run: Path, tiny_pets: Path, tmp_path: Path
) -> None:
    words = [str(run), "fine", "--models", str(tmp_path / "none"), "--root", str(tiny_pets)]
    with pytest.raises(UserError, match="divisible by 32, not 100"):
        export.main([*words, option, "100"])


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


@pytest.mark.parametrize("side", [4, 2])
def test_the_loss_is_cross_entropy_plus_dice_at_the_size_of_the_truth(side: int) -> None:
    torch.manual_seed(0)
    answered, truth = torch.randn(2, 3, side, side), torch.randint(0, 3, (2, 4, 4))
    # OpenCV's bilinear enlarging has the centres of pixels where they are.
    enlarged = [cv2.resize(each.movedim(0, 2).numpy(), (4, 4)) for each in answered]
    logits = torch.from_numpy(np.stack(enlarged)).movedim(3, 1)
    probabilities = logits.softmax(dim=1)
    target = torch.nn.functional.one_hot(truth, 3).movedim(3, 1)
    overlap = (probabilities * target).sum(dim=(0, 2, 3))
    dice = 2 * overlap / (probabilities + target).sum(dim=(0, 2, 3))
    expected = torch.nn.functional.cross_entropy(logits, truth) + 1 - dice.mean()
    loss = encoder_unet.DiceCrossEntropy()(answered, truth)
    torch.testing.assert_close(loss, expected)
