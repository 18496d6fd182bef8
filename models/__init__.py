"""From a photo to what is in it: thresholds, the pet's outline, its breed.

Plain functions and small frozen dataclasses over NumPy arrays. Nothing here knows the web page
or a training framework; networks run in ONNX Runtime.
"""

import os

# ONNX Runtime's builds report their use to their makers over the network, unless this is set before
# they are imported.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
