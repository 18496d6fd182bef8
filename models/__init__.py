"""From a photo to what is in it: thresholds, the pet's outline, its breed.

Plain functions and small frozen dataclasses over NumPy arrays. Nothing here knows the web page
or a training framework; networks run in ONNX Runtime.
"""

import os

# ONNX Runtime's builds tell their makers of each use over the network, unless told not to before
# they are imported.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
