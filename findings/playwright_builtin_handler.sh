#!/bin/bash
# playwright 1.65.0 for Python: `page.on` refuses functions and methods that are written in C, such as
# `print` and `messages.append`, as handlers.
#
# A good guess: any callable that takes the event may be a handler. The annotations say so
# (`Callable[[ConsoleMessage], ...]`), and a bound method written in Python is accepted.
#
# Seen: an AttributeError that names an attribute of Playwright's own, before anything is listened to.
# Playwright keeps its wrapper of a handler in an attribute of the handler, or of the object to which
# a method is bound if Python wrote it; functions and methods in C can have none. A lambda around them works.
#
# Needs Chromium (Debian: chromium-headless-shell or chromium).
# Exits with 0 while that is so, and with 1 when it has changed.
set -euo pipefail
chromium=$(command -v chromium-headless-shell || command -v chromium)
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check playwright==1.65.0 2>/dev/null

cat > "$folder/listen.py" <<'PYTHON'
import sys

from playwright.sync_api import sync_playwright


class Log:
    def __init__(self):
        self.messages = []

    def append(self, message):
        self.messages.append(message)


log = Log()
HANDLERS = {
    "a method written in Python": log.append,
    "a list's append": log.messages.append,
    "print": print,
    "a lambda around a list's append": lambda message: log.messages.append(message),
}
with sync_playwright() as playwright:
    browser = playwright.chromium.launch(executable_path=sys.argv[1], args=["--no-sandbox"])
    for name, handler in HANDLERS.items():
        page = browser.new_page()
        log.messages.clear()
        try:
            page.on("console", handler)
        except AttributeError as error:
            print(f"{name}: AttributeError: {error}")
            continue
        page.evaluate("console.log('hello')")
        page.close()
        print(f"{name}: heard {[message.text for message in log.messages]}")
    browser.close()
PYTHON

"$folder/venv/bin/python" "$folder/listen.py" "$chromium" | tee "$folder/seen"

diff "$folder/seen" - <<'SEEN'
a method written in Python: heard ['hello']
a list's append: AttributeError: 'builtin_function_or_method' object has no attribute '_pw_impl_instance_'
print: AttributeError: 'builtin_function_or_method' object has no attribute '_pw_impl_instance_'
a lambda around a list's append: heard ['hello']
SEEN
echo "playwright 1.65.0: as described"
