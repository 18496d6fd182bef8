#!/bin/bash
# gradio 6.31.0, gr.ColorPicker in Chromium: the dialog of any colour opens as that of a red, and a
# click into the reds gives a colour of the hue that is not shown. Its slider of hues tells screen
# readers 0 degrees for ever.
#
# A good guess: the dialog shows the colour that the component has, and a click into its field of
# shades gives the shade under the pointer.
#
# Seen: opened on the green #2e8b57, the hue slider stands at 0 degrees and the field shows shades of
# red. The dialog works out the hue after it has been drawn, and draws again only when the colour
# changes. So a click into the field's red corner gives a full green, and only with that click does
# the field turn green. The slider's `aria-valuenow` stays at 0 then, too.
#
# Needs Chromium (Debian: chromium-headless-shell or chromium).
# Exits with 0 while that is so, and with 1 when it has changed.
set -euo pipefail
chromium=$(command -v chromium-headless-shell || command -v chromium)
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check \
  gradio==6.31.0 playwright==1.65.0 2>/dev/null
"$chromium" --version 2>/dev/null | grep -o "[0-9]*" | head -1 | sed 's/^/Chromium /'

cat > "$folder/tab.py" <<'PYTHON'
import sys

import gradio as gr
from playwright.sync_api import sync_playwright

with gr.Blocks() as page:
    gr.ColorPicker("#2e8b57", label="Paint", interactive=True, elem_id="paint")
_, url, _ = page.launch(prevent_thread_lock=True, quiet=True, server_name="127.0.0.1")

with sync_playwright() as playwright:
    browser = playwright.chromium.launch(executable_path=sys.argv[1], args=["--no-sandbox"])
    tab = browser.new_page()
    tab.goto(url)
    tab.locator("#paint .dialog-button").click()
    hue = tab.get_by_role("slider", name="Hue")
    field = tab.locator("#paint .color-gradient")
    field.wait_for()
    tab.wait_for_timeout(2000)

    def shown(when: str) -> None:
        color = tab.locator("#paint input[type=text]").input_value()
        angle = hue.get_attribute("aria-valuenow")
        field_hue = field.evaluate("each => each.style.getPropertyValue('--hue')")
        print(f"{when}: colour {color}, slider at {angle}, field of hue {float(field_hue):.0f}")

    shown("opened")
    box = field.bounding_box()
    tab.mouse.click(box["x"] + box["width"] - 1, box["y"] + 1)
    tab.wait_for_timeout(1000)
    shown("after a click into the full red")
    browser.close()
page.close()
PYTHON

GRADIO_ANALYTICS_ENABLED=False "$folder/venv/bin/python" "$folder/tab.py" "$chromium" |
  grep "slider at" | tee "$folder/seen"

diff "$folder/seen" - <<'SEEN'
opened: colour #2e8b57, slider at 0, field of hue 0
after a click into the full red: colour #01fe71, slider at 0, field of hue 146
SEEN
echo "gradio 6.31.0: as described"
