"""Networks by name, with pretrained weights from a file or the Hub, or without any.

Any problem with a name, a file or the connection is reported in one sentence before a run begins. A
server is contacted only for downloadable weights that are not in the cache.
"""

import difflib
import os
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping
from pathlib import Path
from pickle import UnpicklingError
from typing import TYPE_CHECKING, Any

from training.errors import UserError

if TYPE_CHECKING:
    import keras

# What Keras downloads for MobileNetV2 without its top.
KERAS_WEIGHTS = (
    "https://storage.googleapis.com/tensorflow/keras-applications/mobilenet_v2/"
    "mobilenet_v2_weights_tf_dim_ordering_tf_kernels_1.0_224_no_top.h5"
)

ANSWER_TIMEOUT = 6.0  # seconds after which a server that does not answer counts as unreachable

Statistics = tuple[float, float, float]
TorchNetwork = Any
"""A network of timm or smp; to type checkers, a module's attributes are only tensors or modules."""

# Of ImageNet's pictures, as nearly all encoders expect.
IMAGENET_MEAN, IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


def timm_network(
    arch: str,
    classes: int,
    *,
    pretrained: bool,
    pretrained_cfg: Mapping[str, Any] | None = None,
    model_args: Mapping[str, Any] | None = None,
) -> TorchNetwork:
    """A network of timm with a new classifier.

    Parameters
    ----------
    arch
        Any name that `timm.create_model` takes.
    classes
        Length of its output.
    pretrained, pretrained_cfg, model_args
        As the options of the same names of `training.train_breeds`.

    Raises
    ------
    training.errors.UserError
        If there is no such network, or its weights are not available.
    """
    import training.torchvision_ops  # noqa: F401  (before timm)
    import timm  # isort: skip

    local = (pretrained_cfg or {}).get("file")
    if ":" not in arch:  # otherwise it is in a repository or a folder
        _known(arch.partition(".")[0], timm.list_models(), "timm")
    if pretrained and local:
        weights_file(Path(local), "--pretrained-cfg")
    elif pretrained and ":" not in arch and (repo := _timm_repository(arch)) is not None:
        on_the_hub(
            repo,
            ("model.safetensors", "pytorch_model.bin"),
            'use a local file, --pretrained-cfg \'{"file": "x.safetensors"}\', or none, '
            "--no-pretrained",
        )
    try:
        return timm.create_model(
            arch,
            pretrained=pretrained,
            pretrained_cfg_overlay=dict(pretrained_cfg) if pretrained_cfg else None,
            num_classes=classes,
            **(model_args or {}),
        )
    except Exception as error:  # of timm, PyTorch, safetensors, the Hub or the file system
        # PyTorch's own words would advise to load it unsafely.
        if local and isinstance(error.__cause__, UnpicklingError):
            raise UserError(
                f"{local} holds no weights that can be loaded safely: use a .safetensors file."
            ) from error
        source = f" from {local}" if pretrained and local else ""
        raise UserError(f"{arch} cannot be made{source}: {_first_line(error)}.") from error


def smp_unet(
    encoder: str,
    classes: int,
    weights: str,
    encoder_args: Mapping[str, Any] | None = None,
    half_size: bool = False,
) -> TorchNetwork:
    """A U-Net of segmentation-models-pytorch.

    Parameters
    ----------
    encoder
        Name of an encoder of the package; `tu-NAME` takes any of timm's networks.
    classes
        Number of classes of the output.
    weights
        The encoder's: "imagenet" (downloaded), "none", or a `.safetensors` file.
    encoder_args
        Further arguments of the encoder.
    half_size
        Whether it is a `training.half_size_unet.HalfSizeUnet`.

    Raises
    ------
    training.errors.UserError
        If there is no such encoder, or its weights are not available.
    """
    import training.torchvision_ops  # noqa: F401  (before timm, which this package imports)
    import segmentation_models_pytorch as smp  # isort: skip
    import timm  # isort: skip
    from safetensors.torch import load_file

    from training.half_size_unet import HalfSizeUnet

    if encoder.startswith("tu-"):
        _known(encoder[3:].partition(".")[0], timm.list_models(), "timm")
    else:
        _known(encoder, smp.encoders.get_encoder_names(), "segmentation-models-pytorch")
    otherwise = "use a local file, --encoder-weights FILE, or none, --encoder-weights none"
    if weights == "imagenet":
        if (repo := _encoder_repository(encoder)) is not None:
            on_the_hub(repo, ("model.safetensors", "pytorch_model.bin"), otherwise)
    elif weights != "none":
        weights_file(Path(weights), "--encoder-weights")
    make: Callable[..., TorchNetwork] = HalfSizeUnet if half_size else smp.Unet
    try:
        model = make(
            encoder,
            encoder_weights="imagenet" if weights == "imagenet" else None,
            classes=classes,
            **(encoder_args or {}),
        )
        if weights not in ("imagenet", "none"):
            network = getattr(model.encoder, "model", model.encoder)
            trained = load_file(weights)
            network.load_state_dict({name: trained[name] for name in network.state_dict()})
    except KeyError as error:
        raise UserError(f"{weights} holds no weights of {encoder}: it lacks {error}.") from error
    except Exception as error:
        raise UserError(f"{encoder} cannot be made: {_first_line(error)}.") from error
    return model


def _timm_repository(arch: str) -> str | None:
    """The Hub's repository with the weights of a network of timm, if it has one."""
    import timm

    try:
        config = timm.get_pretrained_cfg(arch, allow_unregistered=True)
    except RuntimeError as error:  # the part of the name behind its dot is unknown
        raise UserError(f"{arch} cannot be made: {_first_line(error)}.") from error
    return config.hf_hub_id if config is not None else None


def _encoder_repository(encoder: str) -> str | None:
    """The Hub's repository with an encoder's ImageNet weights."""
    import segmentation_models_pytorch as smp

    if encoder.startswith("tu-"):
        return _timm_repository(encoder[3:])
    settings = smp.encoders.encoders[encoder]["pretrained_settings"].get("imagenet")
    return settings["repo_id"] if settings else None


def encoder_statistics(model: TorchNetwork) -> tuple[Statistics, Statistics]:
    """Mean and standard deviation, in [0, 1], that an smp U-Net's encoder expects of its input."""
    config = getattr(getattr(model.encoder, "model", None), "pretrained_cfg", None)
    if config is None:
        return IMAGENET_MEAN, IMAGENET_STD
    (*mean,), (*std,) = config["mean"], config["std"]
    return (mean[0], mean[1], mean[2]), (std[0], std[1], std[2])


def keras_encoder_weights(weights: str) -> None:
    """Make sure that the weights of Keras' MobileNetV2 are available.

    Raises
    ------
    training.errors.UserError
        If they are not.
    """
    if weights == "none":
        return
    if weights != "imagenet":
        weights_file(Path(weights), "--encoder-weights")
        return
    home = Path(os.environ.get("KERAS_HOME") or Path.home() / ".keras")
    if Path(home, "models", KERAS_WEIGHTS.rpartition("/")[2]).exists():
        return
    request = urllib.request.Request(KERAS_WEIGHTS, method="HEAD")
    try:
        urllib.request.urlopen(request, timeout=ANSWER_TIMEOUT).close()  # noqa: S310  (Keras' own)
    except OSError as error:
        reason = str(getattr(error, "reason", "") or error).rstrip(".")
        raise UserError(
            f"{KERAS_WEIGHTS} cannot be downloaded ({reason}): use a local file, --encoder-weights "
            "FILE, or none, --encoder-weights none."
        ) from error


def keras_network(build: Any, *arguments: object) -> "keras.Model":  # noqa: ANN401
    """Call a function that builds a Keras network with weights from a file.

    Raises
    ------
    training.errors.UserError
        When the file does not hold the network's weights.
    """
    try:
        return build(*arguments)
    except (OSError, ValueError, KeyError) as error:
        raise UserError(f"The network cannot be made: {_first_line(error)}.") from error


def weights_file(path: Path, option: str) -> None:
    """Make sure that a file of weights exists.

    Raises
    ------
    training.errors.UserError
        If it does not.
    """
    if not path.is_file():
        raise UserError(f"{option} names {path}, which is not a file.")


def on_the_hub(repo: str, files: tuple[str, ...], otherwise: str) -> None:
    """Make sure that one of a repository's files is in the cache, or can be downloaded.

    Raises
    ------
    training.errors.UserError
        If that is not so after some seconds; the message ends with what to do `otherwise`.
    """
    from huggingface_hub import HfApi, try_to_load_from_cache

    from models import hub

    if any(isinstance(try_to_load_from_cache(repo, name), str) for name in files):
        return
    try:
        HfApi().model_info(repo, timeout=ANSWER_TIMEOUT)
    except Exception as error:  # of the library, its HTTP client, or the network
        raise UserError(
            f"The weights of {repo} cannot be downloaded ({hub.reason(error)}): {otherwise}."
        ) from error


def _known(name: str, names: list[str], where: str) -> None:
    if name not in names:
        near = difflib.get_close_matches(name, names, n=3)
        meant = f": did you mean {' or '.join(near)}?" if near else "."
        raise UserError(f"{where} has no {name!r}{meant}")


def _first_line(error: Exception) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return " ".join(lines[:2]).rstrip(".")[:300] or type(error).__name__
