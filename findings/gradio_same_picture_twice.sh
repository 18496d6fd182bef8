#!/bin/bash
# gradio 6.31.0, gr.Image: a picture that one visitor is downloading is emptied and written again
# when another visitor gets the same picture.
#
# One would expect: gradio names the folder of an answer's picture for its content, so a second answer
# with the same pixels finds the file there and leaves it alone, or puts it in place in one step.
#
# Instead: the second answer opens the same file for writing, which empties it, and encodes the picture
# into it again. Whoever reads it meanwhile gets a part of it, and a download that had begun ends
# before the promised Content-Length. Two visitors who try the same example at the same moment are
# enough.
#
# Exits with 0 while that is so, and with 1 when it has changed.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check \
  gradio==6.31.0 pillow==12.3.0 2>/dev/null

cat > "$folder/answer.py" <<'PYTHON'
import threading
import time
from pathlib import Path

import gradio as gr
import numpy as np

component = gr.Image(format="png")
noise = np.random.default_rng(0).integers(0, 256, (3000, 3000, 3), dtype=np.uint8)
first = Path(component.postprocess(noise).path)
whole = first.stat().st_size
again: list[str] = []
second = threading.Thread(target=lambda: again.append(component.postprocess(noise).path))
second.start()
smallest = whole
while second.is_alive():
    smallest = min(smallest, first.stat().st_size)
    time.sleep(0.001)
second.join()
print("the second answer has the first one's file:", again == [str(first)])
print("its size while that is written: from", "0" if smallest == 0 else "part", "of the whole")
print("whole again afterwards:", first.stat().st_size == whole)
PYTHON

GRADIO_ANALYTICS_ENABLED=False GRADIO_TEMP_DIR="$folder/files" \
  "$folder/venv/bin/python" "$folder/answer.py" | tee "$folder/seen"

diff "$folder/seen" - <<'SEEN'
the second answer has the first one's file: True
its size while that is written: from 0 of the whole
whole again afterwards: True
SEEN
