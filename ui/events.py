"""Shared by several tabs' events: following a control, and files made on a click."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import wraps
from typing import Any

import gradio as gr
from gradio.events import Dependency

from models.images import PhotoError
from ui.texts import say, say_error
from ui.uploads import Upload

INFERENCE = "inference"  # events that compute share a limit on how many run at a time

# Of an event that shows what is computed: while one answer is on its way, the next event waits, and
# only the last one is answered.
LATEST: dict[str, Any] = {
    "trigger_mode": "always_last",
    "concurrency_id": INFERENCE,
    "api_visibility": "private",
}
HIDDEN: dict[str, Any] = {"show_progress": "hidden", **LATEST}  # without the spinner

# A separate link, because Gradio's button would save the file that it had before the click.
SAVE = """(file) => {
  const link = document.createElement("a");
  link.href = file.url;
  link.download = file.orig_name;
  link.click();
}"""


@dataclass(frozen=True)
class ShownMask:
    """The mask that a tab shows, and what changes it.

    Attributes
    ----------
    current
        The upload.
    model, chosen
        The choice of its mask model, and what changes with it; without them it is the default one.
    """

    current: gr.State
    model: gr.Radio | None = None
    chosen: gr.State | None = None

    @property
    def changes(self) -> list[Callable[..., Dependency]]:
        """The events with which it changes."""
        return [each.change for each in (self.current, self.chosen) if each]

    def inputs(self, control: gr.Component) -> list[gr.Component]:
        """The inputs of a function of the upload, a control's value and, if chosen, the model."""
        return [self.current, control, *([self.model] if self.model else [])]


def followed(control: gr.Radio | gr.Dropdown) -> gr.State:
    """A state that changes with a control's value, which several events can follow.

    If several events follow the control's own change, and one is triggered again before its answer
    arrived, the page (Gradio 6.31) triggers all of them again when it arrives, and so on for ever.
    The state begins with None, which is all that the browser ever knows about it.
    """
    state = gr.State(None)
    control.change(
        lambda value: value, control, state, show_progress="hidden", api_visibility="private"
    )
    return state


def on_click(
    button: gr.Button,
    write: Callable[..., str],
    inputs: Sequence[gr.Component],
    js: str | None = None,
) -> tuple[Dependency, gr.File]:
    """Let a button make a file when it is clicked; see `on`."""
    return on(button.click, write, inputs, js)


def on(
    trigger: Callable[..., Dependency],
    write: Callable[..., str],
    inputs: Sequence[gr.Component],
    js: str | None = None,
) -> tuple[Dependency, gr.File]:
    """Let an event make a file, so that it is made only if somebody wants it.

    Parameters
    ----------
    trigger
        The event, such as a button's `click`; it may also be triggered without a photo.
    write
        Makes the file from the inputs' values, the first of which is an upload.
    inputs
        The inputs of `write`.
    js
        What the browser does immediately.

    Returns
    -------
    The event, and the component that gets the file.
    """

    @wraps(write)
    def answer(upload: Upload | None, *values: object) -> str:
        if upload is None:
            raise gr.Error(say("photo.missing"), print_exception=False)
        try:
            return write(upload, *values)
        except PhotoError as error:  # it may have been deleted since
            raise gr.Error(say_error(error), print_exception=False) from None

    file = gr.File(visible="hidden")
    event = trigger(answer, inputs, file, js=js, concurrency_id=INFERENCE, api_visibility="private")
    return event, file


def save_on_click(
    button: gr.Button, write: Callable[..., str], inputs: Sequence[gr.Component]
) -> None:
    """Let a button make and save a file when it is clicked, as in `on_click`."""
    save_on(button.click, write, inputs)


def save_on(
    trigger: Callable[..., Dependency], write: Callable[..., str], inputs: Sequence[gr.Component]
) -> None:
    """Let a component's event make and save a file, as in `on_click`."""
    event, file = on(trigger, write, inputs)
    event.success(None, file, js=SAVE)
