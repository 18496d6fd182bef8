"""How long the app takes from its command to the first page and to the first answer.

    python -m bench.start            # renews its table
    python -m bench.start --short    # one start; only prints the table

Each start is a new process, after one that is not counted, so that its files are in the system's
cache. The page means all of `/` and then `/config`; the answer is that of `/analyze` for an
example, uploaded as a program would do it. The time until the app reports an error is measured too.
"""

from models import commandline

if __name__ == "__main__":
    commandline.quiet_interrupts()

import argparse
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from statistics import median

import documents
from bench import visitors

PHOTO = visitors.ROOT / "examples" / "german_shepherd.jpg"
STARTS = 7
PATIENCE = 120  # seconds
START, END = "<!-- start: written by bench.start -->", "<!-- /start -->"
PAGE, ANSWER, REFUSAL = "first page", "first answer", "a folder without models is refused"


def start(port: int) -> tuple[float, float]:
    """Seconds from the start of a process to its first page, and to its first answer."""
    began = time.perf_counter()
    process = _run("--port", str(port))

    def seconds_until(happened: Callable[[], bool]) -> float:
        while time.perf_counter() - began < PATIENCE and process.poll() is None:
            try:
                if happened():
                    return time.perf_counter() - began
            except OSError:  # not listening yet
                time.sleep(0.01)
        raise RuntimeError("The app did not start, or did not answer.")

    def shows() -> bool:
        return all(visitors.get(port, path)[0] == 200 for path in ("/", "/config"))

    def answers() -> bool:
        return visitors.ask(port, "analyze", PHOTO.read_bytes(), [3], "127.0.0.1") == "complete"

    try:
        return seconds_until(shows), seconds_until(answers)
    finally:
        process.terminate()
        process.wait()


def refusal() -> float:
    """Seconds until the app refuses a folder without models."""
    with tempfile.TemporaryDirectory() as empty:
        began = time.perf_counter()
        _run("--models", empty).wait(PATIENCE)
        return time.perf_counter() - began


def _run(*words: str) -> subprocess.Popen[bytes]:
    return subprocess.Popen(  # noqa: S603 -- our own words
        [sys.executable, "app.py", *words],
        cwd=visitors.ROOT,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )


def table(seconds: dict[str, list[float]]) -> str:
    """The seconds of each start as Markdown."""
    lines = ["| until | seconds | shortest to longest |", "|---|---|---|"]
    lines += [
        f"| {what} | {median(taken):.2f} | {min(taken):.2f} to {max(taken):.2f} |"
        for what, taken in seconds.items()
    ]
    return "\n".join(lines)


def main(words: Sequence[str] | None = None) -> None:
    """Start the app several times, and renew the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--starts", type=int, default=STARTS)
    parser.add_argument("--port", type=int, default=7861)
    parser.add_argument("--short", action="store_true", help="start once; write nothing")
    arguments = parser.parse_args(words)
    starts = 1 if arguments.short else arguments.starts
    start(arguments.port)
    seconds: dict[str, list[float]] = {PAGE: [], ANSWER: [], REFUSAL: []}
    for _ in range(starts):
        page, answer = start(arguments.port)
        for what, taken in ((PAGE, page), (ANSWER, answer), (REFUSAL, refusal())):
            seconds[what].append(taken)
    text = (
        f"{table(seconds)}\n\nFrom the command, median of {starts} starts on "
        f"{visitors.machine()}, {time.strftime('%Y-%m-%d')}: `python -m bench.start`."
    )
    print(text)
    if not arguments.short:
        documents.renew(START, END, text)


if __name__ == "__main__":
    commandline.run(main)
