#!/bin/bash
# huggingface_hub 2.4.0, hf_hub_download: a file that the server refuses to give is reported as one
# that is missing.
#
# One would expect: EntryNotFoundError says that a repository lacks a file (404), and a refusal or a
# broken server is an HfHubHTTPError with its status. So a program that reads an optional file, and
# writes a new one where there is none, catches EntryNotFoundError.
#
# Instead: 400, 403 and 501 raise LocalEntryNotFoundError, which is both an EntryNotFoundError and a
# FileNotFoundError, and no HfHubHTTPError. The program takes a file that is there, but that it may
# not read at the moment, for a missing one, and overwrites it. Only RemoteEntryNotFoundError says that
# the file is missing; the status of a refusal is in the error's __cause__.
#
# Exits with 0 while that is so, and with 1 when it has changed.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check huggingface_hub==2.4.0 2>/dev/null

cat > "$folder/ask.py" <<'PYTHON'
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

status = 404


class Hub(BaseHTTPRequestHandler):
    """Answers each question for a file with one status."""

    def do_HEAD(self):
        self.send_response(status)
        if status == 404:
            self.send_header("X-Error-Code", "EntryNotFound")
        self.send_header("X-Repo-Commit", "0" * 40)
        self.send_header("Content-Length", "0")
        self.end_headers()

    do_GET = do_HEAD

    def log_message(self, *_):
        pass


server = ThreadingHTTPServer(("127.0.0.1", 0), Hub)
threading.Thread(target=server.serve_forever, daemon=True).start()

from huggingface_hub import hf_hub_download
from huggingface_hub.errors import EntryNotFoundError, HfHubHTTPError

for status in (404, 400, 403, 501):
    try:
        hf_hub_download("me/photos", "list.txt", endpoint=f"http://127.0.0.1:{server.server_port}")
    except Exception as error:
        missing = "missing" if isinstance(error, EntryNotFoundError) else "not missing"
        http = "an HTTP error" if isinstance(error, HfHubHTTPError) else "no HTTP error"
        print(f"{status}: {type(error).__name__}, {missing}, {http}")
PYTHON

export HF_HOME="$folder/home" HF_HUB_DISABLE_TELEMETRY=1 NO_PROXY=127.0.0.1
"$folder/venv/bin/python" "$folder/ask.py" | tee "$folder/seen"

diff "$folder/seen" - <<'SEEN'
404: RemoteEntryNotFoundError, missing, an HTTP error
400: LocalEntryNotFoundError, missing, no HTTP error
403: LocalEntryNotFoundError, missing, no HTTP error
501: LocalEntryNotFoundError, missing, no HTTP error
SEEN
echo "huggingface_hub 2.4.0: as described"
