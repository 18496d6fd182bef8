"""Links that open the page as it is now: with the same example, tab and settings."""

import filecmp
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlencode

import gradio as gr
from PIL import ImageColor

from ui import examples, histogram, markup, theme
from ui import opening as opening_example
from ui.texts import PARAMETER, mark, say
from ui.uploads import Upload

# Adds what only the browser knows: the tab, the language and the page's address. A browser may
# refuse to copy, for example without HTTPS.
COPY = f"""
async (query) => {{
  const parameters = new URLSearchParams(query);
  const tab = document.querySelector('#tabs [role="tab"][aria-selected="true"]');
  if (tab?.dataset.tabId) parameters.set("tab", tab.dataset.tabId);
  const language = new URLSearchParams(location.search).get("{PARAMETER}");
  if (language) parameters.set("{PARAMETER}", language);
  const link = `${{location.origin}}${{location.pathname}}?${{parameters}}`;
  // A phone hands a link on itself, to whichever app its owner chooses.
  if (navigator.share && matchMedia("(pointer: coarse)").matches) {{
    try {{
      await navigator.share({{ title: "Petscope", url: link }});
      return [link, "{mark("share.handed_on")}"];
    }} catch {{}} // it was called off, or came too late after the finger
  }}
  try {{
    await navigator.clipboard.writeText(link);
    return [link, "{mark("share.copied")}"];
  }} catch {{
    return [link, "{mark("share.not_copied")}"];
  }}
}}
"""

# What a link says, apart from the language.
LINK = f"""() => {{
  const parameters = new URLSearchParams(location.search);
  parameters.delete("{PARAMETER}");
  return parameters.toString();
}}"""


@dataclass(frozen=True)
class Links:
    """What links say about a page.

    Attributes
    ----------
    tabs
        The tabs, each with an id.
    controls
        The settings, by their name in the link.
    """

    tabs: gr.Tabs
    controls: Mapping[str, gr.Component]

    def query(self, upload: Upload | None, *values: object) -> str:
        """The parameters for an upload and the settings' values, except those by default."""
        parameters = {}
        for (name, control), value in zip(self.controls.items(), values, strict=True):
            text = written(control, value)
            if text not in (None, written(control, control.value)):
                parameters[name] = text
        if example := _example_of(upload):
            parameters["example"] = example
        else:
            parameters.pop("cuts", None)  # they belong to the photo
        return urlencode(parameters, safe=",")

    def open_link(self, request: gr.Request) -> list[object]:
        """The photo, the tab and the settings that the page's own address names."""
        given = request.query_params
        example, tab = _examples().get(given.get("example", "")), given.get("tab")
        names = [child.id for child in self.tabs.children if isinstance(child, gr.Tab)]
        values = {name: read(control, given.get(name)) for name, control in self.controls.items()}
        cuts = histogram.valid_cuts(values["cuts"])
        if cuts is not None and "classes" not in given:  # which cuts say too
            values["classes"] = len(cuts) + 1
        if example is None:
            values["cuts"] = gr.skip()
        return [
            gr.skip() if example is None else str(example),
            gr.Tabs(selected=tab) if tab in names else gr.skip(),
            *values.values(),
        ]


def build(
    photo: gr.Image,
    current: gr.State,
    tabs: gr.Tabs,
    controls: Mapping[str, gr.Component],
    opening: gr.HTML,
) -> None:
    """Lay out the button, and let a link's parameters set the page.

    Parameters
    ----------
    photo, current
        The photo input, and the upload that was accepted last.
    tabs, controls
        As of `Links`.
    opening
        The component for the opening example, unless a link names another.
    """
    button = gr.Button(mark("share.button"), size="sm", elem_id="share")
    link = gr.Textbox(
        show_label=False, label=mark("share.link"), visible=False, elem_id="share-link"
    )
    message = gr.HTML(
        f'<p class="hint">{mark("share.hint")}</p>',
        padding=False,
        elem_id="share-message",
        elem_classes=markup.SPOKEN,
    )
    links = Links(tabs, controls)
    current.change(
        show_hint,
        current,
        message,
        show_progress="hidden",
        api_visibility="private",
    )
    text = gr.Textbox(visible=False)
    button.click(
        links.query,
        [current, *controls.values()],
        text,
        show_progress="hidden",
        api_visibility="private",
    ).then(None, text, [link, message], js=COPY).then(
        lambda: gr.Textbox(visible=True),
        None,
        link,
        show_progress="hidden",
        api_visibility="private",
    )
    # Once, when the page is opened. Each component that an event changes takes the browser's time,
    # so they change only if there is a link.
    opened = gr.Textbox(visible="hidden")
    gr.on(None, None, None, opened, js=LINK, api_visibility="private")
    opened.change(
        links.open_link,
        None,
        [photo, tabs, *controls.values()],
        show_progress="hidden",
        api_visibility="private",
    )
    gr.on(
        None,
        show_opening,
        None,
        opening,
        show_progress="hidden",
        api_visibility="private",
    )


def show_opening(request: gr.Request) -> object:
    """The opening example, unless the page's own address names another."""
    named = request.query_params.get("example") in _examples()
    return gr.skip() if named else opening_example.shown()


def show_hint(upload: Upload | None) -> str:
    """What a link to the page in its present state would open, as HTML."""
    return f'<p class="hint">{say(hint_of(upload))}</p>'


def hint_of(upload: Upload | None) -> str:
    """The key of the hint about a link, which does not include a visitor's own photo."""
    return "share.hint" if upload is None or _example_of(upload) else "share.hint_own"


def written(control: gr.Component, value: object) -> str | None:
    """A control's value as a link's parameter; None if it is empty."""
    if isinstance(control, gr.HTML):
        cuts = histogram.valid_cuts(value)
        return None if cuts is None else ",".join(f"{cut:g}" for cut in cuts)
    if isinstance(control, gr.Checkbox):
        return "yes" if value else "no"
    if isinstance(control, gr.ColorPicker):
        return _hex(str(value))
    if isinstance(control, gr.Slider):
        return f"{value:g}"
    return str(value)


def read(control: gr.Component, text: str | None) -> object:
    """The value that a link's parameter gives a control; unknown values are ignored."""
    value: object = None
    if text is None:
        pass
    elif isinstance(control, gr.HTML):
        if re.fullmatch(r"\d{1,3}(,\d{1,3})*", text):
            value = {"key": histogram.ANY, "cuts": [int(cut) for cut in text.split(",")]}
    elif isinstance(control, gr.Checkbox):
        value = {"yes": True, "no": False}.get(text)
    elif isinstance(control, gr.ColorPicker):
        value = _hex(text)
    elif isinstance(control, gr.Slider):
        steps = round((control.maximum - control.minimum) / control.step)
        offered = (round(control.minimum + step * control.step, 6) for step in range(steps + 1))
        value = next((each for each in offered if f"{each:g}" == text), None)
    elif isinstance(control, gr.Radio | gr.Dropdown):
        value = next((each for _, each in control.choices if str(each) == text), None)
    return gr.skip() if value is None else value


def _hex(color: str) -> str | None:
    try:
        written = theme.css(ImageColor.getrgb(color)[:3])
    except ValueError:
        return None
    return written if len(written) == len("#rrggbb") else None


def _example_of(upload: Upload | None) -> str | None:
    """The name of the example with which an upload is identical, whatever the file is called."""
    if upload is None:
        return None
    name = Path(upload.path).stem
    example = _examples().get(name)
    try:
        same = example is not None and filecmp.cmp(upload.path, example, shallow=False)
    except OSError:  # it was deleted
        return None
    return name if same else None


def _examples() -> dict[str, Path]:
    return {example.path.stem: example.path for example in examples.examples()}
