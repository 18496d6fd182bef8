"""The U-Net of half size, beside the whole one that the package has."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from training.half_size_unet import HalfSizeUnet, read_unet

import segmentation_models_pytorch as smp  # isort: skip

SETTINGS = {
    "encoder_weights": None,
    "classes": 3,
    "decoder_channels": (16, 12, 8, 8, 4),
}


def unet(
    kind: type[smp.Unet],
    seed: int,
    encoder: str = "tu-test_efficientnet",
    **changes: Any,  # noqa: ANN401
) -> smp.Unet:
    torch.manual_seed(seed)
    return kind(encoder, **{**SETTINGS, **changes}).eval()


def test_it_computes_what_a_whole_one_has_before_its_last_level() -> None:
    whole, half = unet(smp.Unet, 1), unet(HalfSizeUnet, 2)
    half.take(whole.state_dict())
    photo = torch.randn(2, 3, 64, 96)
    seen: list[torch.Tensor] = []
    whole.decoder.blocks[-1].register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    with torch.inference_mode():
        whole(photo)
        logits = half(photo)
        expected = torch.nn.functional.conv2d(
            seen[0],
            half.segmentation_head[0].weight,
            whole.segmentation_head[0].bias,
            padding=1,
        )
    assert logits.shape == (2, 3, 32, 48)
    torch.testing.assert_close(logits, expected)


def test_it_takes_its_own_weights_too() -> None:
    one, other = unet(HalfSizeUnet, 1), unet(HalfSizeUnet, 2)
    other.take(one.state_dict())
    for name, value in one.state_dict().items():
        assert torch.equal(other.state_dict()[name], value), name


@pytest.mark.parametrize(
    "changes",
    [{"classes": 4}, {"decoder_channels": (16, 12, 8, 6, 4)}, {"encoder": "tu-test_resnet"}],
    ids=str,
)
@pytest.mark.parametrize("kind", [smp.Unet, HalfSizeUnet])
def test_weights_of_another_network_are_refused(
    kind: type[smp.Unet], changes: dict[str, Any]
) -> None:
    with pytest.raises(RuntimeError, match="state_dict"):
        unet(HalfSizeUnet, 1).take(unet(kind, 2, **changes).state_dict())


@pytest.mark.parametrize("kind", [smp.Unet, HalfSizeUnet])
def test_a_stored_one_is_read_as_what_it_is(kind: type[smp.Unet], tmp_path: Path) -> None:
    network, photo = unet(kind, 1), torch.randn(1, 3, 64, 64)
    network.save_pretrained(tmp_path)
    assert json.loads((tmp_path / "config.json").read_text())["_model_class"] == kind.__name__
    again = read_unet(tmp_path).eval()
    assert type(again) is kind
    with torch.inference_mode():
        torch.testing.assert_close(again(photo), network(photo))
