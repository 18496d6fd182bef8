"""Learning the models: data sets, networks, one script a job."""

import os
import sys

from models import commandline

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "1")  # TensorFlow's warnings and errors still come
if sys.argv[:1] == ["-m"]:  # a script of this package, whose frameworks take long to import
    commandline.quiet_interrupts()
