"""Run files of browser tests that failed once more, by themselves.

    python tests/again.py STATUS

`make test` runs it with pytest's exit status. A browser that shares two cores with other tests is
at times later than any limit. What fails again is a fault, and so is all that fails outside the
browser, or in more than two files. What passes the second time is named, so that it gets mended.
"""

import json
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parent.parent
CACHE = ROOT / ".pytest_cache" / "v" / "cache" / "lastfailed"
TESTS_FAILED = 1  # pytest's status; others are for a run that ended early
MOST_FILES = 2


def files_to_repeat(status: int, failed: list[str]) -> list[str]:
    """Files to run again for the failed tests' names; none if that cannot make them right."""
    files = sorted({name.partition("::")[0] for name in failed})
    browser = all(name.startswith("tests/browser/") for name in files)
    return files if status == TESTS_FAILED and browser and len(files) <= MOST_FILES else []


def main() -> int:
    status = int(sys.argv[1])
    failed = sorted(json.loads(CACHE.read_text())) if CACHE.is_file() else []
    files = files_to_repeat(status, failed)
    if not files:
        return status
    print("Failed, and run again alone:", *failed, sep="\n  ", flush=True)
    again = subprocess.call([sys.executable, "-m", "pytest", "-m", "not alone", *files], cwd=ROOT)
    print("UNSTABLE: passed the second time" if again == 0 else "Failed again", flush=True)
    return again


if __name__ == "__main__":
    sys.exit(main())
