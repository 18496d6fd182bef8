"""How long the app takes from its command to the first page and to the first answer.

    python -m bench.start

The page is the bytes of `/`; the answer is that of `/analyze` to a photo, uploaded as a program
would. Each start is that of a new process; the median of several is told.
"""

import argparse
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Sequence

from bench import visitors

PHOTO = visitors.ROOT / "examples" / "german_shepherd.jpg"
STARTS = 5
PATIENCE = 120  # seconds


def start(port: int) -> tuple[float, float]:
    """Seconds from the start of a process to its first page, and to its first answer."""
    began = time.perf_counter()
    process = subprocess.Popen(  # noqa: S603 -- our own words
        [sys.executable, "app.py", "--port", str(port)],
        cwd=visitors.ROOT,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )

    def seconds_until(happened: Callable[[], bool]) -> float:
        while time.perf_counter() - began < PATIENCE and process.poll() is None:
            try:
                if happened():
                    return time.perf_counter() - began
            except OSError:  # nobody listens yet
                time.sleep(0.02)
        raise RuntimeError("The app did not start, or did not answer.")

    def answers() -> bool:
        return visitors.ask(port, "analyze", PHOTO.read_bytes(), [3], "127.0.0.1") == "complete"

    try:
        return seconds_until(lambda: visitors.get(port, "/")[0] == 200), seconds_until(answers)
    finally:
        process.terminate()
        process.wait()


def main(words: Sequence[str] | None = None) -> None:
    """Start the app several times, and print the medians."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--starts", type=int, default=STARTS)
    parser.add_argument("--port", type=int, default=7861)
    arguments = parser.parse_args(words)
    measured = [start(arguments.port) for _ in range(arguments.starts)]
    page, answer = (statistics.median(times) for times in zip(*measured, strict=True))
    print(f"first page {page:.2f} s, first answer {answer:.2f} s: {visitors.machine()}")


if __name__ == "__main__":
    main()
