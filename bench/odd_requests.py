"""Requests that programs send by mistake, or by misreading the schema.

Each gets an answer or one sentence, and none counts as a fault of the app.
"""

import base64
import json
import math
from collections.abc import Callable
from functools import cache
from typing import Any

from bench import visitors

EVERY = 10  # one of so many requests is odd, if they are mixed in


@cache
def data_url() -> str:
    """A photo in the text of a request."""
    photo = (visitors.ROOT / "examples" / "cell.png").read_bytes()
    return f"data:image/png;base64,{base64.b64encode(photo).decode()}"


def _file(path: object) -> dict[str, Any]:
    return {"path": path, "meta": {"_type": "gradio.FileData"}}


# The endpoint, its values, and whether it answers.
REQUESTS: tuple[tuple[str, Callable[[], list[Any]], bool], ...] = (
    ("threshold", lambda: [data_url(), "3", "luminance"], True),
    ("threshold", lambda: [{"url": data_url()}, 3.0, "red"], True),
    ("threshold", lambda: [data_url(), 2.5, "luminance"], False),
    ("threshold", lambda: [data_url(), None, "luminance"], False),
    ("threshold", lambda: [data_url(), 3, "smell"], False),
    ("threshold", lambda: [data_url(), 3, ["red"]], False),
    ("threshold", lambda: [data_url()], False),
    ("analyze", lambda: [data_url(), math.nan], False),
    ("analyze", lambda: [data_url(), {"value": 3}], False),
    ("analyze", lambda: [None, 3], False),
    ("analyze", lambda: [_file("/etc/passwd"), 3], False),
    ("mask", lambda: [data_url(), "../../etc/passwd"], False),
    ("cut_out", lambda: ["http://127.0.0.1:9/cat.jpg"], False),
    ("cut_out", lambda: ["data:image/png;base64,A"], False),
    ("breed", lambda: [_file(5)], False),
    ("breed", list, False),
)


def is_odd(turn: int) -> bool:
    """Whether the request of a turn is odd, if they are mixed in."""
    return turn % EVERY == EVERY - 1


def send(port: int, turn: int, client: str) -> None:
    """Send the odd request of a turn.

    Raises
    ------
    RuntimeError
        If its answer is not the expected one.
    """
    name, values, answered = REQUESTS[turn // EVERY % len(REQUESTS)]
    outcome = visitors.call(port, name, values(), client)
    if outcome != ("complete" if answered else "error"):
        shown = json.dumps(values())[-60:]
        raise RuntimeError(f"the odd request {name} {shown} came to: {outcome}")
