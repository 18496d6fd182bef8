#!/bin/bash
# TensorFlow 2.21.0 on Linux x86-64: TF_CPP_MIN_LOG_LEVEL=3 does not silence an import.
#
# One would expect: the documented way to a quiet import is to set TF_CPP_MIN_LOG_LEVEL before it; with 3
# nothing but fatal errors is written, least of all a line of the level "I".
#
# Instead: `import tensorflow` writes, also with 3, a warning that log messages before
# absl::InitializeLog() go to standard error, and an "I" line about oneDNN. They come from C++
# through file descriptor 2, before that setting is read, so replacing sys.stderr hides nothing
# either. Only the descriptor itself, redirected during the import, keeps them away.
#
# Exits with 0 while that is so, and with 1 when it has changed.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check tensorflow-cpu==2.21.0

cat > "$folder/ask.py" <<'PYTHON'
import contextlib
import io
import os
import sys

how = sys.argv[1]
if how == "descriptor":
    kept = os.dup(2)
    os.dup2(os.open(os.devnull, os.O_WRONLY), 2)
with contextlib.redirect_stderr(io.StringIO()):
    import tensorflow
if how == "descriptor":
    os.dup2(kept, 2)
assert tensorflow.__version__ == "2.21.0"
PYTHON

export TF_CPP_MIN_LOG_LEVEL=3
"$folder/venv/bin/python" "$folder/ask.py" sys 2> "$folder/said"
"$folder/venv/bin/python" "$folder/ask.py" descriptor 2> "$folder/quiet"
echo "with TF_CPP_MIN_LOG_LEVEL=3 and sys.stderr replaced:"
cut -c1-100 "$folder/said"
echo "with the descriptor redirected: $(wc -c < "$folder/quiet") bytes"
grep -q "before absl::InitializeLog" "$folder/said" || exit 1
grep -q "^I.*oneDNN" "$folder/said" || exit 1
[ ! -s "$folder/quiet" ] || exit 1
