from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf

from models.images import open_photo
from models.preprocessing import prepare
from training import pets, train_unet
from training.networks import mobilenet_unet


def test_the_network_is_the_references() -> None:
    model = mobilenet_unet.build(128)
    assert model.count_params() == 6_504_227
    assert model.output_shape == (None, 128, 128, 3)


@pytest.mark.parametrize("shape", [(32, 32), (96, 160)])
def test_any_size_divisible_by_32_works(shape: tuple[int, int]) -> None:
    model = mobilenet_unet.build()
    assert model(np.zeros((1, *shape, 3), np.float32)).shape == (1, *shape, 3)


def test_another_size_is_refused() -> None:
    with pytest.raises(ValueError, match="divisible by 32"):
        mobilenet_unet.build(100)


def test_batch_norms_follow_the_fine_tuning() -> None:
    norms = [
        layer
        for layer in mobilenet_unet.build().layers
        if isinstance(layer, keras.layers.BatchNormalization)
    ]
    assert norms
    assert all(layer.momentum == 0.9 for layer in norms)


def test_augmentation_moves_photo_and_mask_together() -> None:
    masks = np.full((16, 160, 160), 1, np.uint8)
    masks[:, 40:120, 60:140] = 0
    photos = np.where(masks == 0, 200, 20).astype(np.uint8)[..., np.newaxis].repeat(3, axis=3)
    random = tf.random.Generator.from_seed(1)
    new_photos, new_masks = train_unet.augment(photos, masks, 128, random)
    assert new_photos.shape == (16, 128, 128, 3)
    assert new_masks.shape == (16, 128, 128)
    assert not np.array_equal(new_masks[0], new_masks[1])
    for photo, mask in zip(new_photos.numpy(), new_masks.numpy(), strict=True):
        grey = photo.mean(axis=2)
        bright = grey > (grey.min() + grey.max()) / 2
        assert np.mean(bright == (mask == 0)) > 0.98


def test_held_out_pictures_are_prepared_as_at_serving(tiny_pets: Path) -> None:
    examples = pets.split(tiny_pets, "validation")
    photos, masks = next(iter(train_unet.evaluation_batches(examples, 64, 8)))
    spec = train_unet.input_spec(64)
    served = np.concatenate([prepare(open_photo(example.photo), spec) for example in examples])
    np.testing.assert_array_equal(photos.numpy(), served)
    assert photos.numpy().min() >= -1
    assert photos.numpy().max() <= 1
    assert set(np.unique(masks.numpy())) <= {0, 1, 2}


def test_the_loss_is_cross_entropy_plus_dice() -> None:
    truth = np.array([[[0, 1], [2, 1]]])
    logits = np.random.default_rng(0).normal(size=(1, 2, 2, 3)).astype(np.float32)
    probabilities = np.exp(logits) / np.exp(logits).sum(axis=-1, keepdims=True)
    target = np.eye(3)[truth]
    entropy = -np.log((probabilities * target).sum(axis=-1)).mean()
    overlap = (probabilities * target).sum(axis=(0, 1, 2))
    dice = (2 * overlap + 1) / (probabilities.sum(axis=(0, 1, 2)) + target.sum(axis=(0, 1, 2)) + 1)
    expected = entropy + 1 - dice.mean()
    assert float(train_unet.dice_cross_entropy(truth, logits)) == pytest.approx(expected, rel=1e-5)


def test_the_learning_rate_warms_up_and_ends_at_zero() -> None:
    rate = train_unet.learning_rate(steps=10, epochs=5)
    values = [float(rate(step)) for step in range(51)]
    assert np.argmax(values) == 10
    assert max(values) == pytest.approx(train_unet.RATE)
    assert values[50] == pytest.approx(0, abs=1e-9)


def test_a_resumed_run_goes_on_and_keeps_its_history(tiny_pets: Path, tmp_path: Path) -> None:
    words = [
        *("--root", str(tiny_pets), "--out", str(tmp_path / "run"), "--size", "32"),
        *("--encoder-weights", "none", "--batch", "8", "--verbose", "0"),
    ]
    run = train_unet.train(train_unet.parse_arguments([*words, "--epochs", "1"]))
    train_unet.train(train_unet.parse_arguments([*words, "--epochs", "2", "--resume"]))
    epochs = [line.split(",")[0] for line in (run / "history.csv").read_text().splitlines()]
    assert epochs == ["epoch", "0", "1"]
    for name in ("model.keras", "curves.png", "predictions.png", "run.json"):
        assert (run / name).stat().st_size > 0
