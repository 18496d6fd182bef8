#!/bin/bash
# spaces 0.51.3 with gradio 6.31.0, on ZeroGPU: an app that is mounted with gr.mount_gradio_app never
# tells the Hub of its functions for a GPU.
#
# One would expect: `@spaces.GPU` makes a function known, however the page is served; Gradio documents two
# ways, `launch()` and `gr.mount_gradio_app` in a FastAPI app.
#
# Instead: the package reports at the first call of `gr.Blocks.launch`, and at no other moment. A mounted
# page works, but what the package reports of it at the start, `/startup-report`, is never sent. It is if
# the app calls `spaces.zero.startup()` itself.
#
# The scheduler is a stand-in on this machine that notes what it is asked. PyTorch is not installed.
# Exits with 0 while that is so, and with 1 when it has changed.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check \
  gradio==6.31.0 spaces==0.51.3 2>/dev/null

cat > "$folder/space.py" <<'PYTHON'
import os
import sys
import threading
import time
import urllib.request
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

asked: list[str] = []


class Scheduler(BaseHTTPRequestHandler):
    def do_POST(self):
        asked.append(self.path.partition("?")[0])
        self.send_response(200)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_):
        pass


scheduler = ThreadingHTTPServer(("127.0.0.1", 0), Scheduler)
threading.Thread(target=scheduler.serve_forever, daemon=True).start()
os.environ["SPACES_ZERO_GPU"] = "true"
os.environ["SPACES_ZERO_DEVICE_API_URL"] = f"http://127.0.0.1:{scheduler.server_port}"

import gradio as gr
import spaces
import uvicorn
from fastapi import FastAPI


@spaces.GPU
def double(number):
    return 2 * number


with gr.Blocks() as page:
    number = gr.Number()
    number.submit(double, number, number)

way = sys.argv[1]
if way == "launched":
    page.launch(prevent_thread_lock=True, quiet=True)
else:
    app = gr.mount_gradio_app(FastAPI(), page, path="/")
    server = uvicorn.Server(uvicorn.Config(app, port=0, log_level="error"))
    threading.Thread(target=server.run, daemon=True).start()
    while not server.started:
        time.sleep(0.1)
    port = server.servers[0].sockets[0].getsockname()[1]
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/config") as answer:
        print(f"{way}: the page is served:", answer.status == 200)
    if way == "mounted, startup() called":
        spaces.zero.startup()
print(f"{way}: reported to the Hub:", "/startup-report" in asked)
sys.stdout.flush()
os._exit(0)
PYTHON

for way in "launched" "mounted" "mounted, startup() called"; do
  GRADIO_ANALYTICS_ENABLED=False "$folder/venv/bin/python" "$folder/space.py" "$way" 2>"$folder/errors"
done | tee "$folder/seen"

diff "$folder/seen" - <<'SEEN'
launched: reported to the Hub: True
mounted: the page is served: True
mounted: reported to the Hub: False
mounted, startup() called: the page is served: True
mounted, startup() called: reported to the Hub: True
SEEN
