"""Imports TensorFlow without its greeting. Import this module before Keras or TensorFlow.

TensorFlow 2.21 writes some lines to standard error's file descriptor before it reads
TF_CPP_MIN_LOG_LEVEL. If the import fails, its messages are shown.
"""

import os
import sys
import tempfile

sys.stderr.flush()
with tempfile.TemporaryFile() as _said:
    _shown = os.dup(2)
    os.dup2(_said.fileno(), 2)
    try:
        import tensorflow  # noqa: F401
    except BaseException:
        _said.seek(0)
        os.write(_shown, _said.read())
        raise
    finally:
        os.dup2(_shown, 2)
        os.close(_shown)
