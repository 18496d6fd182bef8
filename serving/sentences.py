"""What the server itself says to visitors: one sentence for each reason.

What is said before a request's head was read is in `connections`, in English: no language is known.
"""

from collections.abc import Callable, MutableMapping
from typing import Any, TypeAlias

SENTENCES = {
    "headers": "The request’s headers are too large.",
    "no_door": "There is nothing here.",
    "closing": "Petscope is being restarted: please try again.",
    "bytes": "You have sent very much: please try again in {seconds} s.",
    "disk": "There is no room for more photos right now: please try again later.",
    "open": "Too many requests are open: please try again in a minute.",
    "rate": "Please wait a moment, and try again in {seconds} s: "
    "you ask more often than {limit} times a minute.",
    "queue": "Petscope is busy: you would be number {place} in the queue. "
    "Please try again in {seconds} s.",
    "waiting": "You already wait for {answers} answers: please let them come first.",
    "slow_body": "The request came too slowly: please try again.",
    "size": "The request is larger than the {size} allowed.",
    "fault": "Something went wrong here: please try again.",
    "failed": "Something went wrong here, not with your photo: please try again.",
    "no_room": "There is no room on the disk right now: please try again in some minutes.",
}

# Makes the sentence for a reason, with values for its places, in the language of a request's ASGI
# scope.
Say: TypeAlias = Callable[[MutableMapping[str, Any], str, dict[str, str | int]], str]


def say_in_english(
    scope: MutableMapping[str, Any], reason: str, values: dict[str, str | int]
) -> str:
    """A sentence of `SENTENCES`, for whoever asks."""
    return SENTENCES[reason].format(**values)
