"""Links that open the page as it is now: with the same example, tab and settings."""

from collections.abc import Mapping
from pathlib import Path
from urllib.parse import urlencode

import gradio as gr

from ui import photos
from ui.texts import mark

# Adds the tab, which only the browser knows, and the page's address. A browser may refuse to copy,
# as where the page is not served over HTTPS.
COPY = f"""
async (query) => {{
  const parameters = new URLSearchParams(query);
  const tab = document.querySelector('#tabs [role="tab"][aria-selected="true"]');
  if (tab?.dataset.tabId) parameters.set("tab", tab.dataset.tabId);
  const link = `${{location.origin}}${{location.pathname}}?${{parameters}}`;
  try {{
    await navigator.clipboard.writeText(link);
    return [link, "{mark("share.copied")}"];
  }} catch {{
    return [link, "{mark("share.not_copied")}"];
  }}
}}
"""


def build(
    photo: gr.Image,
    current: gr.State,
    tabs: gr.Tabs,
    controls: Mapping[str, gr.Slider | gr.Dropdown | gr.Radio],
) -> None:
    """Lay out the button, and let a link's parameters set the page.

    Parameters
    ----------
    photo, current
        As of `photos.build`.
    tabs
        The tabs, each with an id.
    controls
        The settings by their name in the link.
    """
    with gr.Group():
        button = gr.Button(mark("share.button"), size="sm", elem_id="share")
        link = gr.Textbox(
            show_label=False, label=mark("share.link"), visible=False, elem_id="share-link"
        )
    message = gr.HTML(
        f'<p class="hint">{mark("share.hint")}</p>',
        padding=False,
        elem_id="share-message",
        elem_classes=photos.SPOKEN,
    )
    defaults = {name: control.value for name, control in controls.items()}

    def query(path: str | None, *values: object) -> str:
        chosen = dict(zip(controls, values, strict=True))
        parameters = {name: value for name, value in chosen.items() if value != defaults[name]}
        if path is not None and Path(path).stem in _examples():
            parameters["example"] = Path(path).stem
        return urlencode(parameters)

    def open_link(request: gr.Request) -> list[object]:
        given = request.query_params
        example, tab = _examples().get(given.get("example", "")), given.get("tab")
        names = [child.id for child in tabs.children]
        return [
            gr.skip() if example is None else str(example),
            gr.Tabs(selected=tab) if tab in names else gr.skip(),
            *(read(control, given.get(name)) for name, control in controls.items()),
        ]

    text = gr.Textbox(visible=False)
    button.click(
        query, [current, *controls.values()], text, show_progress="hidden", api_visibility="private"
    ).then(None, text, [link, message], js=COPY).then(
        lambda: gr.Textbox(visible=True),
        None,
        link,
        show_progress="hidden",
        api_visibility="private",
    )
    gr.on(
        None,  # once, when the page is opened
        open_link,
        None,
        [photo, tabs, *controls.values()],
        show_progress="hidden",
        api_visibility="private",
    )


def read(control: gr.Slider | gr.Dropdown | gr.Radio, text: str | None) -> object:
    """The value that a link's parameter gives a control; what it does not offer is passed over."""
    if text is None:
        return gr.skip()
    if isinstance(control, gr.Slider):
        offered = range(int(control.minimum), int(control.maximum) + 1)
    else:
        offered = [value for _, value in control.choices]
    return next((value for value in offered if str(value) == text), gr.skip())


def _examples() -> dict[str, Path]:
    return {example.path.stem: example.path for example in photos.examples()}
