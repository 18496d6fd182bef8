"""Fifty visitors at once: how fast they get answers, and the resources used.

    python -m bench.crowd                            # the page, ten minutes
    python -m bench.crowd --against ../older         # and another checkout, alternately
    python -m bench.crowd --event analyze            # the endpoint, through Gradio's own client

Visitors of the page do what a browser does when a photo is dropped on it: they upload it, send the
page's own event, wait in the queue, read the answer from the session's stream, and fetch the
picture with the pets. Visitors of the endpoint call `/analyze`. Each visitor sends the next photo
as soon as it has an answer, and no photo is sent twice. Visitors use the same cores as the server;
the record states their processor time.

Another build can be served beside this one, and the two are measured alternately.
"""

from models import commandline

if __name__ == "__main__":
    commandline.quiet_interrupts()

import argparse
import io
import itertools
import json
import os
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from functools import cache, partial
from pathlib import Path
from typing import Any, Literal, get_args

import httpx
import numpy as np
from gradio_client import Client, handle_file
from gradio_client.utils import QueueError
from PIL import Image, ImageOps

from bench import odd_requests, visitors
from bench.page_visitor import PageVisitor, PhotoEvent, RefusedError
from models import images, pipeline
from models.runtime import usable_cores

Event = Literal["page", "analyze"]
Ask = Callable[[int], object]

CLASSES = 3
SIZE = (1280, 960)  # pixels of the page's photos
MINUTES, CLIENTS = 10.0, 50  # unless the command says otherwise
ROUNDS = 6  # of each build
PAUSE = 1.0  # seconds for which a refused visitor waits
WARM_UP = 20  # photos that each build answers before measuring


@cache
def photo_files() -> list[Path]:
    """The photographs among the examples, which visitors send."""
    files = sorted((visitors.ROOT / "examples").glob("*.jpg"))
    return [path for path in files if path.stem != "cat_and_dog"]  # two of the others side by side


@cache
def photos() -> list[bytes]:
    """The examples as JPEG files of the same size."""
    made = []
    for path in photo_files():
        with Image.open(path) as image:
            content = io.BytesIO()
            ImageOps.fit(image.convert("RGB"), SIZE).save(content, "JPEG", quality=90)
            made.append(content.getvalue())
    return made


def unseen(turn: int) -> bytes:
    """A photo that was not sent before: decoders ignore bytes after a picture's end."""
    return photos()[turn % len(photos())] + turn.to_bytes(8, "big")


def address(number: int) -> str:
    """The address of a visitor, by number."""
    return f"9.9.{number >> 8}.{number & 255}"


@contextmanager
def page_visitors(port: int, count: int) -> Iterator[list[Ask]]:
    """Visitors of the page, each with a session of its own."""
    event = PhotoEvent.of(port)
    everyone = [PageVisitor(port, address(number), event) for number in range(count)]
    yield [partial(show, visitor) for visitor in everyone]
    for visitor in everyone:
        visitor.close()


def show(visitor: PageVisitor, turn: int) -> bytes:
    """Drop a new photo on a visitor's page."""
    return visitor.show(unseen(turn))


@contextmanager
def endpoint_visitors(port: int, count: int) -> Iterator[list[Ask]]:
    """Programs that call `/analyze`."""
    clients = [client(port, number) for number in range(count)]
    yield [partial(analyze, each) for each in clients]
    for each in clients:
        each.close()


def client(port: int, number: int) -> Client:
    """Gradio's own client, connected to the app."""
    return Client(
        f"http://127.0.0.1:{port}",
        headers={"X-Forwarded-For": address(number)},
        verbose=False,
        analytics_enabled=False,
        download_files=False,
        httpx_kwargs={"timeout": 120},
        ssl_verify=False,  # there is no TLS; reading the certificates thrice an answer costs 100 ms
    )


def analyze(client: Client, turn: int) -> object:
    """Analyze an example."""
    paths = photo_files()
    photo = handle_file(paths[turn % len(paths)])
    return client.predict(photo, CLASSES, api_name="/analyze")


VISITORS = {"page": page_visitors, "analyze": endpoint_visitors}


def mixed(ask: Ask, port: int, number: int) -> Ask:
    """A visitor who sends an odd request now and then."""

    def either(turn: int) -> object:
        if not odd_requests.is_odd(turn):
            return ask(turn)
        odd_requests.send(port, turn, address(number))
        return None

    return either


@dataclass
class Build:
    """A served build, and what its visitors experienced.

    Attributes
    ----------
    root
        The checkout.
    port, process
        Its port, and its process id.
    times
        Seconds that each answer took.
    outcomes
        How often each outcome of a request occurred.
    seconds
        How long it was measured.
    processor, visitors_processor
        Seconds of processor time that the server and its visitors used meanwhile.
    """

    root: Path
    log: Path
    port: int
    process: int
    times: list[float] = field(default_factory=list)
    outcomes: Counter[str] = field(default_factory=Counter)
    seconds: float = 0.0
    processor: float = 0.0
    visitors_processor: float = 0.0

    def ask(self, everyone: Sequence[Ask], turns: Iterator[int], seconds: float) -> None:
        """Let many visitors send requests at once, each repeatedly for so many seconds."""
        start = time.monotonic()
        used, own = visitors.processor_seconds(self.process), time.process_time()
        threads = [
            threading.Thread(target=self._visit, args=(ask, turns, start + seconds))
            for ask in everyone
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        self.seconds += time.monotonic() - start
        self.processor += visitors.processor_seconds(self.process) - used
        self.visitors_processor += time.process_time() - own

    def _visit(self, ask: Ask, turns: Iterator[int], end: float) -> None:
        while time.monotonic() < end:
            start = time.monotonic()
            outcome = outcome_of(ask, next(turns))
            self.outcomes[outcome] += 1
            if outcome == "answered":
                self.times.append(time.monotonic() - start)
            else:
                time.sleep(PAUSE)

    def figures(self) -> dict[str, Any]:
        """The measured figures; exits if nobody was answered."""
        if not self.times:
            sys.exit(f"{self.root} answered nobody: {dict(self.outcomes)}")
        middle, late = np.percentile(self.times, [50, 99])
        answers = len(self.times)
        faults = sum('"event": "fault"' in line for line in self.log.read_text().splitlines())
        return {
            "outcomes": dict(self.outcomes),
            "faults": faults,
            "median_seconds": round(float(middle), 3),
            "percentile_99_seconds": round(float(late), 3),
            "answers_a_second": round(answers / self.seconds, 2),
            "server_processor_ms_an_answer": round(1000 * self.processor / answers, 1),
            "visitors_processor_ms_an_answer": round(1000 * self.visitors_processor / answers, 1),
            "peak_megabytes": round(visitors.peak_memory(self.process) / 1e6),
        }


def outcome_of(ask: Ask, turn: int) -> str:
    """The outcome of a request, in a word or two."""
    try:
        ask(turn)
    except QueueError:
        return "busy"
    except httpx.HTTPStatusError as error:
        return f"refused {error.response.status_code}"
    except RefusedError as error:
        return str(error)
    except Exception as error:
        return f"{type(error).__name__}: {error}"
    return "answered"


@contextmanager
def served(root: Path) -> Iterator[Build]:
    """A build of a checkout, served."""
    with tempfile.TemporaryDirectory() as folder:
        log = Path(folder) / "log"
        with visitors.served(log, root, PETSCOPE_BEHIND_PROXY="1") as (port, process):
            yield Build(root, log, port, process.pid)


def measure(
    event: Event, minutes: float, clients: int, against: Path | None = None, odd: bool = False
) -> dict[str, Any]:
    """Let a crowd use this build for so many minutes, alternating with another one if there is one.

    Returns
    -------
    Figures of this build, and under "against" those of the other.
    """
    roots = [visitors.ROOT, *([against] if against else [])]
    turns = itertools.count()
    with ExitStack() as stack:
        builds = [stack.enter_context(served(root)) for root in roots]
        crowds = [stack.enter_context(VISITORS[event](build.port, clients)) for build in builds]
        if odd:
            crowds = [
                [mixed(ask, build.port, number) for number, ask in enumerate(everyone)]
                for build, everyone in zip(builds, crowds, strict=True)
            ]
        for everyone in crowds:
            for turn in range(WARM_UP):
                outcome_of(everyone[turn % clients], next(turns))
        for turn in range(ROUNDS):
            pairs = list(zip(builds, crowds, strict=True))
            for build, everyone in pairs if turn % 2 else reversed(pairs):
                build.ask(everyone, turns, 60 * minutes / ROUNDS)
        first, *others = [build.figures() for build in builds]
    command = "python -m bench.crowd" + ("" if event == "page" else f" --event {event}")
    command += f" --minutes {minutes:g}" if minutes != MINUTES else ""
    command += f" --clients {clients}" if clients != CLIENTS else ""
    command += f" --against ../{against.name}" if against else ""
    command += " --odd" if odd else ""
    first |= {
        "command": command,
        "machine": visitors.machine(),
        "clients": clients,
        "minutes": round(builds[0].seconds / 60, 2),
    }
    for other in others:
        first["against"] = other
    return first


def models_alone(seconds: float) -> dict[str, float]:
    """Answers per second of `models` alone, in a separate process, and processor time of each."""
    code = f"from bench import crowd; print(*crowd.bare({seconds}))"
    done = subprocess.run(  # noqa: S603 -- our own words
        [sys.executable, "-c", code],
        cwd=visitors.ROOT,
        env=os.environ,
        capture_output=True,
        text=True,
        check=True,
    )
    rate, used = map(float, done.stdout.split())
    return {
        "models_alone_a_second": round(rate, 2),
        "models_processor_ms_an_answer": round(1000 * used, 1),
    }


def bare(seconds: float) -> tuple[float, float]:
    """Answers per second of `models` alone, and processor seconds of each."""
    paths = photo_files()

    def work(first: int) -> int:
        done = 0
        while time.monotonic() < end:
            path = paths[(first + done) % len(paths)]
            pipeline.describe(images.open_photo(path), CLASSES)
            done += 1
        return done

    pipeline.describe(images.open_photo(paths[0]), CLASSES)
    start, used = time.monotonic(), time.process_time()
    end = start + seconds
    with ThreadPoolExecutor(usable_cores()) as pool:
        done = sum(pool.map(work, range(usable_cores())))
    return done / (time.monotonic() - start), (time.process_time() - used) / done


def main(words: Sequence[str] | None = None) -> None:
    """Measure, and renew the record and its table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--event", choices=get_args(Event), default="page")
    parser.add_argument(
        "--minutes", type=float, default=MINUTES, help="of each build (%(default)s)"
    )
    parser.add_argument("--clients", type=int, default=CLIENTS, help="visitors (%(default)s)")
    parser.add_argument("--against", type=Path, help="another checkout, measured alternately")
    parser.add_argument("--odd", action="store_true", help="a tenth are odd; keeps no record")
    parser.add_argument("--dry-run", action="store_true", help="keep no record")
    arguments = parser.parse_args(words)
    if arguments.against and not (arguments.against / "app.py").is_file():
        parser.error(f"{arguments.against} is not a checkout of the app")
    figures = measure(
        arguments.event, arguments.minutes, arguments.clients, arguments.against, arguments.odd
    )
    if arguments.event == "analyze":  # its work is that of `models`
        figures |= models_alone(max(5, arguments.minutes * 60 / 8))
    print(json.dumps(figures, indent=2))
    if not (arguments.dry_run or arguments.odd):
        visitors.record("crowd" if arguments.event == "page" else "crowd_analyze", figures)


if __name__ == "__main__":
    commandline.run(main)
