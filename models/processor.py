"""What computes: the processor's name, for records of measurements."""

import platform
import re
from pathlib import Path

FACTS = Path("/proc/cpuinfo")  # Linux alone has it; on arm64 without a name


def name() -> str:
    """The processor's name as its maker gives it; where that is not known, its architecture."""
    try:
        found = re.search(r"^model name\s*: (.+)$", FACTS.read_text(), re.MULTILINE)
    except OSError:
        found = None
    return found[1].strip() if found else platform.processor() or platform.machine()
