"""What `/healthz` reports: is it alive, is it ready, with which models on which device."""

from models import pipeline
from serving import decoding


def models() -> list[dict[str, str]]:
    """The models that answer by default: name, sha256 of the file, and the device they run on."""
    return [
        {"name": each.card.name, "sha256": each.card.sha256, "device": each.device}
        for each in pipeline.load()
    ]


def can_decode() -> bool:
    """Whether there is a process to decode pictures, or one can be started."""
    return decoding.start().usable()
