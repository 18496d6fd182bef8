"""Pieces of HTML that several tabs show."""

import base64
import html

from models import runtime
from models.drawing import Color
from ui import theme
from ui.texts import mark, number, say

SPOKEN = "spoken"  # class of what screen readers announce when it changes; see accessible.js


def notice(sentence: str, wrong: bool = False, invites: bool = False, waits: bool = False) -> str:
    """A sentence for the visitor, as HTML.

    Parameters
    ----------
    sentence
        The sentence.
    wrong
        Whether it reports an error.
    invites
        Whether it invites the visitor to choose a photo; the answered example stays visible.
    waits
        Whether its tab waits for a photo; the rest of the tab, which cannot do anything yet, is
        hidden.
    """
    kind = 'class="notice-text wrong" role="alert"' if wrong else 'class="notice-text"'
    if invites:
        kind = 'class="notice-text invites"'
    if waits:
        kind = 'class="notice-text waits"'
    return f"<div {kind}>{html.escape(sentence)}</div>"


def progress(sentence: str, done: float, total: float, label: str) -> str:
    """A sentence and a progress bar, as HTML."""
    return (
        f'<div class="notice-text">{html.escape(sentence)}'
        f'<progress value="{done:g}" max="{total:g}" aria-label="{label}"></progress></div>'
    )


def no_pet(sentence: str) -> str:
    """Says that there is no pet, and which tabs have an answer all the same, as HTML.

    The script accessible.js lets the buttons open them.
    """
    buttons = "".join(
        f'<button type="button" class="plain" data-opens="{tab}">{html.escape(say(f"tab.{tab}"))}'
        f"</button> "
        for tab in ("threshold", "mask")
    )
    return (
        f'<div class="notice-text no-pet">{html.escape(sentence)}'
        f'<p class="hint">{html.escape(say("page.elsewhere"))}</p>{buttons}</div>'
    )


def found(sentence: str) -> str:
    """What was found, as HTML."""
    return f'<p class="found">{html.escape(sentence)}</p>'


def took(seconds: float, device: str) -> str:
    """How long an answer took and where it was computed, as HTML: for the end of the answer."""
    milliseconds = seconds * 1000
    time = number(milliseconds, ".1f" if milliseconds < 10 else ".0f")
    sentence = say("page.took", time=time, device=device)
    if device == "CPU" and runtime.gpu_failed.is_set():
        sentence += f". {say('page.gpu_failed')}"
    return f'<p class="took">{html.escape(sentence)}</p>'


def swatch(color: Color) -> str:
    """A small square of a colour, as HTML."""
    return f'<span class="swatch" style="background: {theme.css(color)}"></span>'


def figure(content: bytes, kind: str, alternative: str, caption: str) -> str:
    """A small picture (kind "png" or "jpeg") with its caption, which is HTML, as HTML."""
    data = base64.b64encode(content).decode()
    return (
        f'<figure><img src="data:image/{kind};base64,{data}" alt="{html.escape(alternative)}">'
        f"<figcaption>{caption}</figcaption></figure>"
    )


def placeholder(sentence: str) -> str:
    """The text in an empty picture input, in the form that Gradio parses."""
    return f"{mark('photo.click')}\n- {mark('photo.or')} -\n{sentence}"  # a phone can drop nothing
