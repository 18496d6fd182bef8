#!/bin/bash
# safetensors 0.8.0 on Linux: save_file makes files that only their owner may read.
#
# One would expect: a new file has the mode that the umask leaves, 0644 with the usual 022, as with
# open() and as safetensors 0.7.0 did. So colleagues can read weights on a shared disk, and a web
# server with an account of its own can serve them.
#
# Instead: with umask 022, save_file of 0.8.0 leaves a file of mode 0600, also in place of
# an earlier file of mode 0644. The umask changes nothing about that. A chmod after the call does.
#
# Exits with 0 while that is so, and with 1 when it has changed.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
umask 022
cat > "$folder/save.py" <<'PYTHON'
import os
import sys

import numpy
import safetensors
from safetensors.numpy import load_file, save_file

path = sys.argv[1]
open(path, "w").close()  # an earlier file
before = os.stat(path).st_mode & 0o777
save_file({"weights": numpy.zeros(3, numpy.float32)}, path)
assert load_file(path)["weights"].tolist() == [0, 0, 0]
print(safetensors.__version__, f"{before:04o}", f"{os.stat(path).st_mode & 0o777:04o}")
PYTHON

for version in 0.7.0 0.8.0; do
  python3 -m venv "$folder/$version"
  "$folder/$version/bin/pip" install --quiet --disable-pip-version-check \
    "safetensors==$version" numpy==2.4.6
  "$folder/$version/bin/python" "$folder/save.py" "$folder/$version.safetensors"
done > "$folder/seen"
echo "version, mode of the earlier file, mode of the saved file:"
cat "$folder/seen"
[ "$(cat "$folder/seen")" = $'0.7.0 0644 0644\n0.8.0 0644 0600' ]
