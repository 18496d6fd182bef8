"""How the app's decoders cope with hostile picture files.

    python -m bench.hostile

Makes the files of `bench.hostile_files`, lets the decoders of `serving.decoding` read each, and
prints how that ended: in a photo or in a sentence for the visitor, after how much time, and with
how much memory. It fails if a file took more than 5 s or 500 MB of its decoder's own memory, or
ended in anything else. Pixels come back in shared memory, at most 9 bytes each, which is counted
separately.
"""

from models import commandline

if __name__ == "__main__":
    commandline.quiet_interrupts()

import argparse
import os
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from threading import Thread

import documents
from bench.good_files import good
from bench.hostile_files import KINDS, Hostile, corpus
from models.images import PhotoError
from serving.decoding import Decoder

START, END = "<!-- pictures: written by bench.hostile -->", "<!-- /pictures -->"


@dataclass(frozen=True)
class Outcome:
    """How reading a file ended.

    Attributes
    ----------
    answer
        "photo", or the key of the sentence.
    seconds
        Processor time, which does not depend on what else the machine does; clock time where that
        is unknown.
    memory, shared
        Bytes that the decoder took of its own on top of what it had before, and of shared memory.
    survived
        Whether the decoder continues.
    """

    answer: str
    seconds: float
    memory: int
    shared: int
    survived: bool


def read(decoder: Decoder, path: Path) -> Outcome:
    """Let a decoder read a file; processor time and memory are known only on Linux.

    They are those of the child process that decodes this one file.
    """
    with _Watch(decoder.process.pid) as watch:
        start = time.perf_counter()
        with path.open("rb") as file:
            try:
                decoder.read(file)
            except PhotoError as error:
                answer = error.key
            else:
                answer = "photo"
        seconds = time.perf_counter() - start
    survived = decoder.usable
    return Outcome(answer, watch.seconds or seconds, watch.memory, watch.shared, survived)


class _Watch:
    """Looks at the child of a process until it has ended: its memory and its processor time."""

    def __init__(self, parent: int) -> None:
        self.memory, self.shared, self.seconds = 0, 0, 0.0
        self._child = _child_of(parent)
        self._thread = Thread(target=self._look, daemon=True)

    def __enter__(self) -> "_Watch":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._thread.join(5)

    def _look(self) -> None:
        if self._child is None:
            return
        before = None
        with suppress(OSError, ValueError, KeyError):  # it has ended
            while True:
                own, shared = _memory(self._child)
                before = own if before is None else before
                self.memory = max(self.memory, own - before)
                self.shared = max(self.shared, shared)
                self.seconds = _worked(self._child)
                time.sleep(0.001)


def _child_of(parent: int) -> Path | None:
    """The child of a process in /proc, once there is one; None if there is no /proc."""
    children = Path(f"/proc/{parent}/task/{parent}/children")
    for _ in range(1000):
        if not children.exists():
            return None
        if words := children.read_text().split():
            return Path(f"/proc/{words[0]}")
        time.sleep(0.005)
    return None


def _memory(process: Path) -> tuple[int, int]:
    """Bytes of a process's own memory, and of what it shares with others; see proc(5)."""
    lines = (process / "status").read_text().splitlines()
    found = dict(line.split(":", 1) for line in lines)
    return 1024 * int(found["RssAnon"].split()[0]), 1024 * int(found["RssShmem"].split()[0])


def _worked(process: Path) -> float:
    """Processor time that a process has used, in seconds."""
    fields = (process / "stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def read_all(files: Sequence[Hostile], folder: Path) -> Iterator[tuple[Hostile, Outcome]]:
    """Read each file, with a new decoder after one that ended."""
    path, decoder = folder / "photo.jpg", _ready(folder)
    for hostile in files:
        path.write_bytes(hostile.make())
        outcome = read(decoder, path)
        yield hostile, outcome
        if not outcome.survived:
            decoder = _ready(folder)
    decoder.end()


def _ready(folder: Path) -> Decoder:
    decoder, path = Decoder(), folder / "ready.png"
    path.write_bytes(good()["png"])
    with path.open("rb") as file:
        decoder.read(file)
    return decoder


def table(results: Sequence[tuple[Hostile, Outcome]]) -> str:
    """The outcomes by kind, as a Markdown table."""
    lines = [
        "| files | | photo | sentence | decoder ended | worst processor time | worst own memory "
        "| worst shared memory |",
        "|---|---|---|---|---|---|---|---|",
    ]
    kinds = [kind for kind in KINDS if any(hostile.kind == kind for hostile, _ in results)]
    for kind in [*kinds, ""]:
        chosen = [outcome for hostile, outcome in results if kind in ("", hostile.kind)]
        photos = sum(outcome.answer == "photo" for outcome in chosen)
        lines.append(
            f"| {KINDS.get(kind, 'all')} | {len(chosen)} | {photos} | {len(chosen) - photos} "
            f"| {sum(not outcome.survived for outcome in chosen)} "
            f"| {max(outcome.seconds for outcome in chosen):.2f} s "
            f"| {max(outcome.memory for outcome in chosen) / 1e6:.0f} MB "
            f"| {max(outcome.shared for outcome in chosen) / 1e6:.0f} MB |"
        )
    return "\n".join(lines)


def main(words: Sequence[str] | None = None) -> None:
    """Read all of them, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--quick", action="store_true", help="without bombs and animations")
    parser.add_argument("--write", action="store_true", help="put the table into SECURITY.md")
    parser.add_argument("--verbose", action="store_true", help="print each file's outcome, too")
    arguments = parser.parse_args(words)
    results = []
    with tempfile.TemporaryDirectory() as folder:
        for hostile, outcome in read_all(corpus(not arguments.quick), Path(folder)):
            results.append((hostile, outcome))
            if arguments.verbose or outcome.seconds > 5 or not outcome.survived:
                memory = f"{outcome.memory / 1e6:4.0f} + {outcome.shared / 1e6:.0f} MB"
                print(f"{outcome.seconds:6.2f} s {memory}", end=" ")
                print(outcome.answer, hostile.kind, hostile.name, sep=" | ", flush=True)
    print(table(results))
    if arguments.write:
        documents.renew(START, END, table(results))
    answers = Counter(outcome.answer for _, outcome in results)
    print(", ".join(f"{answer} {count}" for answer, count in answers.most_common()))
    if any(outcome.memory > 500_000_000 or outcome.seconds > 5 for _, outcome in results):
        sys.exit("A file took more than 5 s or 500 MB.")


if __name__ == "__main__":
    commandline.run(main)
