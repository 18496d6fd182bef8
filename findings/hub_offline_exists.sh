#!/bin/bash
# huggingface_hub 2.4.0, HfFileSystem: offline mode and a refused connection look like two
# unrelated things, and neither like what fsspec's users test for.
#
# One would expect: `exists` either knows or raises, and a connection that cannot be made is an OSError,
# as it was with the `requests` library that huggingface_hub spoke through before version 1.
#
# Instead:
# - With HF_HUB_OFFLINE=1, `exists`, `isfile` and `isdir` answer False for whatever they are asked,
#   although nobody could look; `ls`, `glob`, `find` and `walk` raise OfflineModeIsEnabled (an
#   OSError) for the same path. A program that checks before it opens says "no such file".
# - Without it, and nothing listening at the endpoint, the same `exists` raises
#   httpx2.ConnectError, which is no OSError: neither `except OSError` nor `except ConnectionError`
#   catches it.
#
# Exits with 0 while that is so, and with 1 when it has changed.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check \
  huggingface_hub==2.4.0 httpx2==2.16.2 fsspec==2026.9.0 2>/dev/null

cat > "$folder/ask.py" <<'PYTHON'
import sys

from huggingface_hub import HfFileSystem

path = "datasets/someone/photos"
system = HfFileSystem()
for name in ("exists", "isfile", "isdir", "ls", "glob", "find"):
    try:
        answer = getattr(system, name)(f"{path}/*.jpg" if name == "glob" else path)
    except Exception as error:
        kind = "an OSError" if isinstance(error, OSError) else "no OSError"
        answer = f"{type(error).__name__}, {kind}"
    print(f"{sys.argv[1]}: {name}: {answer}")
PYTHON

export HF_HOME="$folder/home" HF_HUB_DISABLE_TELEMETRY=1 NO_PROXY=127.0.0.1
export HF_ENDPOINT=http://127.0.0.1:9 # nothing listens there
{
  HF_HUB_OFFLINE=1 "$folder/venv/bin/python" "$folder/ask.py" offline
  "$folder/venv/bin/python" "$folder/ask.py" refused
} | tee "$folder/seen"

diff "$folder/seen" - <<'SEEN'
offline: exists: False
offline: isfile: False
offline: isdir: False
offline: ls: OfflineModeIsEnabled, an OSError
offline: glob: OfflineModeIsEnabled, an OSError
offline: find: OfflineModeIsEnabled, an OSError
refused: exists: ConnectError, no OSError
refused: isfile: ConnectError, no OSError
refused: isdir: ConnectError, no OSError
refused: ls: ConnectError, no OSError
refused: glob: ConnectError, no OSError
refused: find: ConnectError, no OSError
SEEN
echo "huggingface_hub 2.4.0: as described"
