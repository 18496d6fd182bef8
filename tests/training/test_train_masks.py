"""The mask training for photos of all kinds, on synthetic pictures."""

import json
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
import torch
from safetensors.torch import save_file

from models.preprocessing import InputSpec
from training import mask_network, mask_pictures, pets, train_masks
from training.composites import BACKGROUND, PET, Scenes
from training.deeplab import GRID, MEAN, STD, DeepLab, read_deeplab
from training.exporting.common import Run
from training.exporting.of_smp import export_smp
from training.runs import RunError

import segmentation_models_pytorch as smp  # isort: skip
from timm.layers import Conv2dSame  # isort: skip


@pytest.fixture(scope="module")
def deeplab(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Random weights with the names of the real file."""
    torch.manual_seed(0)
    model = DeepLab()
    weights = {
        name.removeprefix("heads."): value.contiguous()
        for name, value in model.state_dict().items()
    }
    path = tmp_path_factory.mktemp("deeplab") / "deeplab.safetensors"
    save_file({k: v for k, v in weights.items() if not k.startswith("encoder.conv_head")}, path)
    return path


def test_deeplab_is_read_and_answers_as_its_parts_do(deeplab: Path) -> None:
    model = read_deeplab(deeplab)
    weights = model.heads.state_dict()
    photo = torch.randn(1, 3, 64, 96)
    with torch.inference_mode():
        logits = model(photo)
        maps = model.encoder.blocks(model.encoder.bn1(model.encoder.conv_stem(photo)))
        parts = [
            torch.einsum("oi,nihw->nohw", weights[f"{name}.weight"][:, :, 0, 0], values)
            + weights[f"{name}.bias"][:, None, None]
            for name, values in (("aspp", maps), ("image_pooling", maps.mean((2, 3), True)))
        ]
    assert logits.shape == (1, 21, 2, 3)
    joined = torch.cat([parts[1].clamp(0, 6).expand(-1, -1, 2, 3), parts[0].clamp(0, 6)], 1)
    projected = (
        torch.einsum("oi,nihw->nohw", weights["projection.weight"][:, :, 0, 0], joined)
        + weights["projection.bias"][:, None, None]
    )
    expected = (
        torch.einsum(
            "oi,nihw->nohw", weights["classifier.weight"][:, :, 0, 0], projected.clamp(0, 6)
        )
        + weights["classifier.bias"][:, None, None]
    )
    torch.testing.assert_close(logits, expected, atol=1e-4, rtol=1e-4)


def test_the_encoder_starts_as_deeplab_s(deeplab: Path) -> None:
    encoder = mask_network.build(deeplab, 256)[0].encoder.model.state_dict()
    theirs = read_deeplab(deeplab).encoder.state_dict()
    for name in ("conv_stem.weight", "blocks.6.0.conv_pwl.weight"):
        torch.testing.assert_close(encoder[name], theirs[name])


def test_training_pictures_show_pets_whole_small_close_and_none(tiny_pets: Path) -> None:
    examples = pets.split(tiny_pets, "train")
    doubtful = np.zeros((len(examples), GRID, GRID), np.bool_)
    spec = InputSpec(64, 64, "squash", "bilinear", MEAN, STD, layout="NCHW")
    pictures = mask_pictures.Pictures(Scenes(examples, []), spec, doubtful)
    random = np.random.default_rng(3)
    shares = []
    for index in range(60):
        photo, classes = pictures.draw(index % len(examples), random)
        assert photo.shape == (64, 64, 3)
        assert classes.shape == (64, 64)
        assert set(np.unique(classes)) <= {0, 1, 2, mask_pictures.IGNORED}
        shares.append(float(np.mean(classes == PET)))
        # The synthetic pets are bright, and their backgrounds dark.
        if shares[-1] > 0.05 and (classes == BACKGROUND).any():
            bright = photo.max(axis=2)
            assert bright[classes == PET].mean() > bright[classes == BACKGROUND].mean()
    assert min(shares) == 0
    assert max(shares) > 0.4


def test_pixels_that_teach_nothing_change_no_loss() -> None:
    torch.manual_seed(0)
    logits, truth = torch.randn(2, 3, 8, 8), torch.randint(0, 3, (2, 8, 8))
    truth[:, :2] = mask_pictures.IGNORED
    loss = mask_network.BelievedLoss()
    other = logits.clone()
    other[:, :, :2] = torch.randn(2, 3, 2, 8) * 5
    torch.testing.assert_close(loss(logits, truth), loss(other, truth))


def test_a_run_says_that_it_knows_what_is_pointed_out(
    tiny_pets: Path, deeplab: Path, tmp_path: Path
) -> None:
    words = ["--root", str(tiny_pets), "--deeplab", str(deeplab), "--size", "64", "--dry-run"]
    arguments = vars(train_masks.parse_arguments([*words, "--out", str(tmp_path / "masks")]))
    run = train_masks.train(**arguments)
    facts = json.loads((run / "run.json").read_text())
    assert 0 <= facts["held_out"]["mean_iou"] <= 1
    assert facts["pointing"] is True

    # The next run goes on with its network, and with the statistics that it found.
    words = ["--root", str(tiny_pets), "--start-from", str(run), "--size", "64", "--dry-run"]
    arguments = vars(train_masks.parse_arguments([*words, "--out", str(tmp_path / "more")]))
    before, after = (
        smp.from_pretrained(folder).state_dict() for folder in (run, train_masks.train(**arguments))
    )
    assert any("running_mean" in name for name in before)
    for name, values in before.items():
        assert torch.equal(values, after[name]) or "running" not in name
    changed = [name for name in before if not torch.equal(before[name], after[name])]
    assert any(name.startswith("encoder") for name in changed)
    assert any(name.startswith("decoder") for name in changed)


def test_what_is_no_run_of_a_mask_network_is_refused(tmp_path: Path) -> None:
    spec = InputSpec(64, 64, "squash", "bilinear", MEAN, STD, layout="NCHW")
    facts = {"input": vars(spec)}
    (tmp_path / "run.json").write_text(json.dumps(facts))
    with pytest.raises(RunError, match="no network that can be trained on"):
        mask_network.read_run(tmp_path)


def test_a_run_is_exported_as_tensorflow_s_padding_has_it_at_any_size(tmp_path: Path) -> None:
    torch.manual_seed(0)
    unet = smp.Unet(
        "tu-test_efficientnet",
        encoder_weights=None,
        classes=3,
        decoder_channels=(16, 8, 8, 8, 8),
        pad_type="same",
    ).eval()
    assert any(isinstance(module, Conv2dSame) for module in unet.modules())
    unet.save_pretrained(tmp_path / "run")
    spec = InputSpec(64, 64, "squash", "bilinear", MEAN, STD, layout="NCHW")
    target = tmp_path / "masks.onnx"
    run = Run(tmp_path / "run", {"input": spec})
    exported = export_smp([run], target, calibrations=[])
    session = onnxruntime.InferenceSession(target, providers=["CPUExecutionProvider"])
    random = np.random.default_rng(0)
    for shape in ((1, 3, 64, 64), (2, 3, 96, 160)):
        batch = random.normal(size=shape).astype(np.float32)
        with torch.inference_mode():
            expected = unet(torch.from_numpy(batch)).softmax(dim=1).numpy()
        np.testing.assert_allclose(exported.predict(batch), expected, atol=1e-6)
        (answer,) = session.run(None, {"photo": batch})
        np.testing.assert_allclose(answer, expected, atol=1e-5)
