"""What `/healthz` reports: whether the app is ready, and with which models on which device."""

from models import pipeline
from serving import decoding


def models() -> list[dict[str, str]]:
    """The default models: name, sha256 of the file, and the device they run on."""
    return [
        {"name": each.card.name, "sha256": each.card.sha256, "device": each.device}
        for each in pipeline.load()
    ]


def can_decode() -> bool:
    """Whether a process that decodes pictures is running or can be started."""
    return decoding.start().usable()
