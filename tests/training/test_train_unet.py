import json
import os
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest

from models.images import open_photo
from models.preprocessing import normalize, prepare
from training import augmentation, keras_runs, keras_unet, pets, train_unet
from training.errors import UserError
from training.networks import mobilenet_unet, unet
from training.runs import read_history


@pytest.fixture(scope="module")
def any_size() -> keras.Model:
    return mobilenet_unet.build()


def test_the_mobilenet_unet_is_the_references() -> None:
    model = mobilenet_unet.build(128)
    assert model.count_params() == 6_504_227
    assert model.output_shape == (None, 128, 128, 3)


def test_the_other_published_bottom_is_wider() -> None:
    model = mobilenet_unet.build(bottom="block_16_expand_relu")
    # 320 channels become 960 before a 3x3 convolution with 512 filters; the depthwise convolution,
    # its batch norm and the projection to 320 channels are gone.
    decoder = (960 - 320) * 512 * 9
    depthwise_and_projection = 960 * 9 + 4 * 960 + 960 * 320
    assert model.count_params() == 6_504_227 + decoder - depthwise_and_projection


def test_any_size_divisible_by_32_works(any_size: keras.Model) -> None:
    for shape in ((32, 32), (96, 160)):
        assert any_size(np.zeros((1, *shape, 3), np.float32)).shape == (1, *shape, 3)


def test_another_size_is_refused() -> None:
    with pytest.raises(ValueError, match="divisible by 32"):
        mobilenet_unet.build(100)


@pytest.mark.parametrize(
    ("words", "multiple"),
    [(["--size", "96x100"], 32), (["--size", "96", "--network", "scratch", "--depth", "6"], 64)],
)
def test_a_size_that_the_network_cannot_halve_is_refused_before_anything_is_read(
    words: list[str], multiple: int
) -> None:
    with pytest.raises(UserError, match=f"divisible by {multiple}, not 96x"):
        train_unet.main(words)


def test_batch_norms_follow_the_fine_tuning(any_size: keras.Model) -> None:
    norms = [
        layer for layer in any_size.layers if isinstance(layer, keras.layers.BatchNormalization)
    ]
    assert norms
    assert all(layer.momentum == 0.9 for layer in norms)


def test_the_network_from_scratch_has_the_references_size() -> None:
    assert unet.build(3, filters=32, depth=4).count_params() == pytest.approx(8.64e6, rel=0.005)


@pytest.mark.parametrize(("depth", "shape"), [(1, (6, 10)), (3, (24, 40))])
def test_the_network_from_scratch_takes_any_depth_and_size(
    depth: int, shape: tuple[int, int]
) -> None:
    model = unet.build(4, filters=2, depth=depth)
    assert model(np.zeros((2, *shape, 3), np.float32)).shape == (2, *shape, 4)


@pytest.mark.parametrize(("height", "width"), [(128, 128), (96, 128)])
@pytest.mark.parametrize("kind", ["pets", "nuclei"])
def test_augmentation_moves_photo_and_mask_together(kind: str, height: int, width: int) -> None:
    masks = np.full((16, 160, 160), 1, np.uint8)
    masks[:, 40:120, 60:140] = 0
    photos = np.where(masks == 0, 200, 20).astype(np.uint8)[..., np.newaxis].repeat(3, axis=3)
    random = np.random.default_rng(1)
    new_photos, new_masks = augmentation.augment(photos, masks, height, width, kind, random)
    assert new_photos.shape == (16, height, width, 3)
    assert new_masks.shape == (16, height, width)
    assert not np.array_equal(new_masks[0], new_masks[1])
    for photo, mask in zip(new_photos, new_masks, strict=True):
        grey = photo.mean(axis=2)
        bright = grey > (grey.min() + grey.max()) / 2
        assert np.mean(bright == (mask == 0)) > 0.98


def test_held_out_pictures_are_prepared_as_at_serving(tiny_pets: Path) -> None:
    examples = pets.split(tiny_pets, "validation")
    data = keras_unet.load_whole(examples, examples, (64, 64), batch=4, seed=0)
    served = np.concatenate([prepare(open_photo(one.photo), data.spec) for one in examples])
    np.testing.assert_array_equal(normalize(data.photos, data.spec), served)
    assert served.min() >= -1
    assert served.max() <= 1
    assert set(np.unique(data.masks)) == {0, 1, 2}


def test_every_epoch_shows_every_picture_in_another_order() -> None:
    def make(indices: np.ndarray, random: np.random.Generator) -> Any:  # noqa: ANN401
        return indices, random.random()

    batches = keras_runs.Batches(10, 4, seed=1, make=make)
    assert batches.steps == 3
    batches.epochs = range(2)
    everything = [batches[index] for index in range(len(batches))]
    orders = [np.concatenate([one for one, _ in everything[i : i + 3]]) for i in (0, 3)]
    for order in orders:
        assert sorted(order[:10]) == list(range(10))
        np.testing.assert_array_equal(order[10:], order[:2])
    assert orders[0].tolist() != orders[1].tolist()
    assert len({number for _, number in everything}) == 6
    batches.epochs = range(1, 2)  # as in a resumed run
    for index in range(len(batches)):
        np.testing.assert_array_equal(batches[index][0], everything[3 + index][0])
        assert batches[index][1] == everything[3 + index][1]


def test_the_loss_is_cross_entropy_plus_dice() -> None:
    truth = np.array([[[0, 1], [2, 1]]])
    logits = np.random.default_rng(0).normal(size=(1, 2, 2, 3)).astype(np.float32)
    probabilities = np.exp(logits) / np.exp(logits).sum(axis=-1, keepdims=True)
    target = np.eye(3)[truth]
    entropy = -np.log((probabilities * target).sum(axis=-1)).mean()
    overlap = (probabilities * target).sum(axis=(0, 1, 2))
    dice = (2 * overlap + 1) / (probabilities.sum(axis=(0, 1, 2)) + target.sum(axis=(0, 1, 2)) + 1)
    expected = entropy + 1 - dice.mean()
    loss = np.mean(keras_runs.dice_cross_entropy(truth, logits))
    assert loss == pytest.approx(expected, rel=1e-5)


def test_the_learning_rate_warms_up_and_ends_at_zero() -> None:
    rate = keras_runs.learning_rate(1e-3, steps=10, epochs=5)
    values = [float(rate(step)) for step in range(61)]
    assert np.argmax(values) == 10
    assert max(values) == pytest.approx(1e-3)
    assert values[50] == pytest.approx(0, abs=1e-9)
    theirs = keras.optimizers.schedules.CosineDecay(1e-5, 40, warmup_target=1e-3, warmup_steps=10)
    np.testing.assert_allclose(values, [theirs(step) for step in range(61)], atol=1e-9)
    again = type(rate).from_config(rate.get_config())
    assert [float(again(step)) for step in (3, 30)] == [values[3], values[30]]


def scratch(root: Path, run: Path, *more: str) -> list[str]:
    """A tiny run, with two epochs by default."""
    return [
        *("--root", str(root), "--out", str(run), "--size", "32", "--network", "scratch"),
        *("--filters", "2", "--depth", "1", "--batch", "8", "--verbose", "0", "--epochs", "2"),
        *more,
    ]


@pytest.fixture(scope="module")
def whole(tiny_pets: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tiny run of one process on one device, uninterrupted."""
    words = scratch(tiny_pets, tmp_path_factory.mktemp("runs") / "whole")
    return train_unet.train(**vars(train_unet.parse_arguments(words)))


def test_a_run_ends_in_a_plain_network_and_pictures(whole: Path) -> None:
    for name in ("curves.png", "predictions.png", "run.json", "history.csv"):
        assert (whole / name).stat().st_size > 0
    assert list((whole / "tensorboard").rglob("events.*"))
    model = keras.models.load_model(whole / "model.keras")
    assert {layer.compute_dtype for layer in model.layers} == {"float32"}


def test_a_resumed_run_ends_like_one_that_was_not_interrupted(
    whole: Path, tiny_pets: Path, tmp_path: Path
) -> None:
    words = scratch(tiny_pets, tmp_path / "resumed")

    def stop(*_: object) -> None:
        raise KeyboardInterrupt

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(keras.callbacks.TensorBoard, "on_epoch_end", stop)
        with pytest.raises(KeyboardInterrupt):
            train_unet.train(**vars(train_unet.parse_arguments(words)))
    resumed = train_unet.train(**vars(train_unet.parse_arguments([*words, "--resume"])))
    histories = [np.genfromtxt(run / "history.csv", delimiter=",") for run in (whole, resumed)]
    np.testing.assert_allclose(histories[0], histories[1], rtol=1e-3)
    assert histories[0][1:, 0].tolist() == [0, 1]
    weights = [
        keras.models.load_model(run / "model.keras").get_weights() for run in (whole, resumed)
    ]
    for one, other in zip(*weights, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-2, atol=1e-3)


def test_the_suggested_rate_is_where_the_loss_falls_fastest() -> None:
    rates = np.geomspace(1e-6, 1, 100).tolist()
    losses = [2 / (1 + (rate / 1e-3) ** 2) + 0.01 * (-1) ** step for step, rate in enumerate(rates)]
    assert keras_runs.steepest(rates, losses) == pytest.approx(1e-3, rel=0.5)
    assert keras_runs.steepest(rates[:2], [1.0, float("nan")]) == rates[0]


def test_the_rate_finder_draws_its_plot(tiny_pets: Path, tmp_path: Path) -> None:
    words = scratch(tiny_pets, tmp_path / "run", "--find-rate")
    run = train_unet.train(**vars(train_unet.parse_arguments(words)))
    assert (run / "rate.png").stat().st_size > 0
    assert not (run / "model.keras").exists()


TWO_DEVICES = """
import sys
import tensorflow as tf
halves = [tf.config.LogicalDeviceConfiguration()] * 2
tf.config.set_logical_device_configuration(tf.config.list_physical_devices("CPU")[0], halves)
from training import train_unet
train_unet.train(**vars(train_unet.parse_arguments(sys.argv[1:])))
"""


def losses(run: Path) -> list[float]:
    return [row["loss"] for row in read_history(run / "history.csv")]


def test_two_devices_share_each_batch_and_learn_as_one_does(
    whole: Path, tiny_pets: Path, tmp_path: Path
) -> None:
    run = tmp_path / "run"
    done = subprocess.run(
        [sys.executable, "-c", TWO_DEVICES, *scratch(tiny_pets, run)],
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    devices = [json.loads((one / "run.json").read_text())["devices"] for one in (whole, run)]
    assert devices == [1, 2]
    # Each device has its own dropout, and its own part of the Dice loss.
    np.testing.assert_allclose(losses(whole), losses(run), rtol=0.1)


ONE_OF_TWO_PROCESSES = """
import sys
import numpy as np
from training import keras_runs, train_unet

weights, *words = sys.argv[1:]
fit = keras_runs.fit

def fit_and_keep(model, *arguments, **options):
    rows = fit(model, *arguments, **options)
    np.savez(weights, *model.get_weights())
    return rows

keras_runs.fit = fit_and_keep
train_unet.train(**vars(train_unet.parse_arguments(words)))
"""


def test_two_processes_train_one_network_and_the_first_writes_it(
    whole: Path, tiny_pets: Path, tmp_path: Path
) -> None:
    with socket.socket() as one, socket.socket() as other:
        for free in (one, other):
            free.bind(("localhost", 0))
        workers = [f"localhost:{free.getsockname()[1]}" for free in (one, other)]
    runs = [tmp_path / "first", tmp_path / "second"]
    weights = [run.with_suffix(".npz") for run in runs]
    processes = []
    for index, (run, kept) in enumerate(zip(runs, weights, strict=True)):
        task = {"cluster": {"worker": workers}, "task": {"type": "worker", "index": index}}
        words = [str(kept), *scratch(tiny_pets, run)]
        processes.append(
            subprocess.Popen(
                [sys.executable, "-c", ONE_OF_TWO_PROCESSES, *words],
                env={**os.environ, "TF_CONFIG": json.dumps(task), "TF_NUM_INTRAOP_THREADS": "1"},
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
            )
        )
    try:
        for process in processes:
            said, _ = process.communicate(timeout=600)
            assert process.returncode == 0, said[-2000:]
    finally:
        for process in processes:
            process.kill()
    assert json.loads((runs[0] / "run.json").read_text())["devices"] == 2
    assert not runs[1].exists()
    first, second = (np.load(kept) for kept in weights)
    assert len(first.files) > 10
    for name in first.files:
        np.testing.assert_allclose(first[name], second[name], rtol=1e-5, atol=1e-7)
    np.testing.assert_allclose(losses(whole), losses(runs[0]), rtol=0.1)
