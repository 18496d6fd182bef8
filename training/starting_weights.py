"""Where the weights come from that a training started with: what its run and its card state.

That is a dictionary with as many of these entries as are known, or None where all weights began as
random numbers:

`project`     who trained them
`network`     which network of theirs it is
`license`     its licence, as an SPDX identifier in lower case
`repository`  `OWNER/NAME` on the Hub, where the same network is
`file`        name of the file that was read
`changed`     what was changed before the training began, or in it
`how`         in a sentence, how somebody else gets the file, or what to use instead
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from training.pretrained import KERAS_WEIGHTS
from training.runs import read_facts

Start = dict[str, str]

APACHE = "apache-2.0"


def of_timm(arch: str, pretrained_cfg: Mapping[str, Any] | None = None) -> Start:
    """What is known of the pretrained weights of a network of timm.

    Of a local file only what `pretrained_cfg` says is known: beside `file` it may have `license`
    and `hf_hub_id`.
    """
    import timm

    told = dict(pretrained_cfg or {})
    config = timm.get_pretrained_cfg(arch, allow_unregistered=True)
    if "file" not in told and config is not None:
        told = {"license": config.license, "hf_hub_id": config.hf_hub_id} | told
    start = {
        "project": "timm",
        "network": arch,
        "license": told.get("license"),
        "repository": told.get("hf_hub_id"),
        "file": told.get("file") and Path(told["file"]).name,
    }
    return {key: str(value) for key, value in start.items() if value}


def of_encoder(encoder: str, weights: str) -> Start | None:
    """What is known of the weights of an encoder of segmentation-models-pytorch.

    The arguments are those of `training.pretrained.smp_unet`.
    """
    import segmentation_models_pytorch as smp

    name = encoder.removeprefix("tu-")
    if weights == "none":
        return None
    if weights != "imagenet":
        return {"network": name, "file": Path(weights).name}
    if encoder != name:
        return of_timm(name)
    settings = smp.encoders.encoders[encoder]["pretrained_settings"]["imagenet"]
    return {"project": "smp", "network": encoder, "repository": settings["repo_id"]}


def of_keras(weights: str) -> Start | None:
    """What is known of the weights of Keras' MobileNetV2; see `keras_encoder_weights`."""
    if weights == "none":
        return None
    if weights != "imagenet":
        return {"network": "MobileNetV2", "file": Path(weights).name}
    return {
        "project": "Keras",
        "network": "MobileNetV2",
        "license": APACHE,
        "file": KERAS_WEIGHTS.rpartition("/")[2],
        "how": "Keras downloads it.",
    }


def of_run(run: Path) -> dict[str, Start | None]:
    """The same entry for a run that goes on from a finished one: `start`, if that one has it."""
    facts = read_facts(run)
    return {"start": facts["start"]} if "start" in facts else {}


def of_runs(facts: Sequence[Mapping[str, Any]], told: Mapping[str, str]) -> dict[str, Any]:
    """The card's entry `starting_weights`: one for all runs, or a list where they differ.

    Parameters
    ----------
    facts
        Of the runs. Those of before there was such an entry have no `start`.
    told
        What is known besides.
    """
    if not told and not any("start" in each for each in facts):
        return {}
    starts: list[Start | None] = []
    for each in facts:
        start = {**(each.get("start") or {}), **told} or None
        if start not in starts:
            starts.append(start)
    return {"starting_weights": starts[0] if len(starts) == 1 else starts}


def listed(card: Mapping[str, Any]) -> list[Start | None]:
    """A card's entries, if it has any; that of a second opinion is the last."""
    entries: list[Start | None] = []
    for told in (card, card.get("second_opinion", {})):
        if "starting_weights" in told:
            entry = told["starting_weights"]
            entries += entry if isinstance(entry, list) else [entry]
    return entries


def as_text(start: Start | None) -> str:
    """What is known, in Markdown."""
    if start is None:
        return "None: all weights began as random numbers."
    parts = [f"`{start['network']}`"] if "network" in start else []
    if "project" in start:
        parts.append(f"{'of ' if parts else ''}{start['project']}")
    known = [" ".join(parts)] if parts else []
    if "license" in start:
        known.append(f"licence {start['license']}")
    if "file" in start:
        known.append(f"file `{start['file']}`")
    if "repository" in start:
        repository = start["repository"]
        known.append(f"on the Hub as [{repository}](https://huggingface.co/{repository})")
    if "changed" in start:
        known.append(start["changed"])
    return " ".join([f"{', '.join(known)}.", *([start["how"]] if "how" in start else [])])
