#!/bin/bash
# gradio 6.31.0, gr.Dropdown in Chromium: from a list of a few choices the Tab key goes to the next
# control, from a list that is too long for its box it goes nowhere.
#
# A good guess: how many choices a dropdown has makes no difference to the order in which the Tab key
# visits the controls of a page.
#
# Seen: the list of choices, open while the dropdown has the focus, scrolls when there are many.
# Chromium makes an area that scrolls a stop of the Tab key by itself (since version 130), so the
# key goes from the dropdown into its own list. The dropdown has then lost the focus and takes the
# list away, and with it the focus: it is on the page's body, and the next Tab begins at the top.
# `tabindex="-1"` on the list brings the usual order back.
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
    for name, count in (("few", 3), ("many", 40)):
        gr.Dropdown([f"choice {number}" for number in range(count)], label=name, interactive=True)
        gr.Textbox(label=f"after {name}")
_, url, _ = page.launch(prevent_thread_lock=True, quiet=True, server_name="127.0.0.1")

with sync_playwright() as playwright:
    browser = playwright.chromium.launch(executable_path=sys.argv[1], args=["--no-sandbox"])
    tab = browser.new_page()
    for mended in (False, True):
        for name in ("few", "many"):
            tab.goto(url)
            tab.get_by_role("combobox", name=name, exact=True).click()
            tab.locator("ul[role=listbox]").wait_for()
            if mended:
                tab.evaluate("document.querySelector('ul[role=listbox]').tabIndex = -1")
            tab.keyboard.press("Tab")
            tab.wait_for_timeout(500)
            where = tab.evaluate("document.activeElement.tagName")
            print(f"{name}{', list with tabindex -1' if mended else ''}: the focus is on {where}")
    browser.close()
page.close()
PYTHON

GRADIO_ANALYTICS_ENABLED=False "$folder/venv/bin/python" "$folder/tab.py" "$chromium" |
  grep "the focus is" | tee "$folder/seen"

diff "$folder/seen" - <<'SEEN'
few: the focus is on TEXTAREA
many: the focus is on BODY
few, list with tabindex -1: the focus is on TEXTAREA
many, list with tabindex -1: the focus is on TEXTAREA
SEEN
echo "gradio 6.31.0: as described"
