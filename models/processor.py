"""The processor's name, for records of measurements."""

import platform
import re
from pathlib import Path

FACTS = Path("/proc/cpuinfo")  # only Linux has it; on arm64 it contains no name


def name() -> str:
    """The name that the manufacturer gives the processor; if unknown, its architecture."""
    try:
        found = re.search(r"^model name\s*: (.+)$", FACTS.read_text(), re.MULTILINE)
    except OSError:
        found = None
    return found[1].strip() if found else platform.processor() or platform.machine()
