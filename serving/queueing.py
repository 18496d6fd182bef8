"""The queue of answers: its length, whose turn it is, and how each answer ends."""

import asyncio
import heapq
import math
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

import gradio as gr

from models import runtime
from serving import internals, log, metrics
from serving.answers import Answer, Outcome
from serving.files import Store
from serving.internals import Session
from serving.messages import Refused, Translate
from serving.sessions import Full, Sessions
from serving.streams import Streams

__all__ = ["AnswerQueue", "Session"]

MAX_PENDING = 40  # answers that one client may wait for; a new photo on the page requests some 15
FIRST_GUESS = 0.5  # assumed seconds for an answer of a function that has given none yet
REMEMBERED = 1_000  # clients whose last turn is remembered
RECENTLY = 30.0  # seconds for which a client's last request is remembered


class AnswerQueue:
    """The queue of a page, in which waiting clients take turns.

    One client's answers may take all workers but one, so that another client's first answer gets a
    worker immediately, and only half of them while other clients are active. The next is the client
    with the fewest running answers; among several, the one whose last turn was longest ago.

    Attributes
    ----------
    closing
        Whether no more answers are accepted.
    answers
        How many were given so far.
    streams
        The streams in which they are sent to pages.
    """

    def __init__(
        self,
        blocks: gr.Blocks,
        store: Store,
        max_waiting: int,
        workers: int,
        translate: Translate,
    ) -> None:
        """Set up the queue of a page; `workers` answers are computed at a time."""
        self._translate = translate
        self.closing = False
        self.answers = 0
        self.streams = Streams()
        self.max_waiting = max_waiting
        self.workers = workers
        self._store = store
        store.is_open = lambda session: bool(self._listening[session])
        self._seconds: dict[str, float] = {}  # recent duration of a function's answers
        self._started: dict[str, float] = {}
        self._turns: dict[str, int] = {}  # the number of each client's last turn
        self._asked: dict[str, float] = {}  # when each client last sent a request
        self._entering: Counter[str] = Counter()  # each client's places that are not yet taken
        self._turn = 0
        self._listening: Counter[str] = Counter()  # open streams of each session
        self._queue = internals.Queue(blocks, self, max_waiting, workers)
        self._sessions = Sessions(self._in_use)
        runtime.running.answers = lambda: self._queue.computed

    @property
    def length(self) -> int:
        """How many answers wait or are being computed."""
        return len(self._queue.event_ids_to_events)

    @property
    def waiting(self) -> int:
        """How many answers wait."""
        return len(self._queue)

    def check_place(self, client: str) -> None:
        """Check whether one more answer of a client may wait.

        Raises
        ------
        Refused
            If the queue is full, or this client waits for too many.
        """
        if self.waiting + self._entering.total() >= self.max_waiting:
            place, seconds = self._next_place(client)
            raise Refused(503, "queue", seconds, {"place": place, "seconds": seconds})
        mine = self._waiting_for(client)
        if mine >= MAX_PENDING:
            raise Refused(429, "waiting", self._seconds_left(client), {"answers": mine})

    def _waiting_for(self, client: str) -> int:
        """How many answers a client waits for, and how many more already have a place."""
        pending = sum(answer.client == client for answer in self._queue.pending)
        return pending + self._entering[client]

    def _next_place(self, client: str) -> tuple[int, int]:
        """The place of a client's next answer in the queue, and the seconds until it is ready."""
        new = Answer("", client, "", "", "", {}, time.monotonic())
        order = self.estimate([*self._queue.waiting, new], self._queue.running)
        place, seconds = next(
            (place, seconds) for place, (answer, seconds) in enumerate(order) if answer is new
        )
        return place + 1, max(math.ceil(seconds), 1)

    def _seconds_left(self, client: str) -> int:
        """About how long it takes until a client's first answer is ready, in whole seconds."""
        times = [
            seconds
            for answer, seconds in self.estimate(self._queue.waiting, self._queue.running)
            if answer.client == client
        ]
        return max(math.ceil(min(times, default=1)), 1)

    @contextmanager
    def streaming(self, session: str | None, event: str | None = None) -> Iterator[None]:
        """A context in which a client listens for the answers of a session, or for one event."""
        session = session or (self._queue.session_of(event) if event else None)
        if session is None:
            yield
            return
        self._listening[session] += 1
        try:
            yield
        finally:
            self._listening[session] -= 1
            if not self._listening[session]:
                del self._listening[session]

    async def emptied(self, timeout: float) -> bool:
        """Wait until all accepted answers are ready; return whether they are."""
        end = time.monotonic() + timeout
        while self.length and time.monotonic() < end:
            await asyncio.sleep(0.05)
        return not self.length

    def close(self) -> None:
        """Compute no more answers."""
        self._queue.close()

    def tidy(self) -> None:
        """Forget what no longer belongs to anybody."""
        self._sessions.keep_only(self._queue.tidy())
        pending = {answer.id for answer in self._queue.pending}
        self._store.forget(pending)
        for event in set(self._started) - pending:
            self._started.pop(event, None)

    def _in_use(self, session: str) -> bool:
        return bool(self._listening[session]) or any(
            answer.session == session for answer in self._queue.pending
        )

    # The calls from `internals.Queue`; see `answers.Rules`.

    @contextmanager
    def place(self, client: str, session: str | None) -> Iterator[None]:
        """A place for an answer that enters the queue in this context.

        It counts from the check on, so that answers that come together cannot all find the last
        place free.

        Raises
        ------
        Refused
            If there is none, or the session would be one too many for its client.
        """
        self.check_place(client)
        try:
            self._sessions.admit(client, session, self._entering[client])
        except Full:
            values = {"answers": self._waiting_for(client)}
            raise Refused(429, "waiting", values=values) from None
        self._entering[client] += 1
        try:
            yield
        finally:
            self._entering[client] -= 1
            if not self._entering[client]:
                del self._entering[client]

    def entered(self, answer: Answer) -> None:
        """Keep the answer's session, and forget those that it replaces."""
        self._queue.forget(self._sessions.use(answer.client, answer.session))
        self._store.use(answer.id, answer.files)
        self._asked.pop(answer.client, None)
        self._asked[answer.client] = time.monotonic()
        if len(self._asked) > REMEMBERED:
            del self._asked[next(iter(self._asked))]

    def progressed(self, answer: Answer, files: set[str]) -> None:
        """Keep the files of a part."""
        self._store.use(answer.id, files)

    def choose(self, waiting: list[Answer], running: list[Answer]) -> Answer | None:
        """Whose turn it is."""
        busy = Counter((answer.client, answer.group) for answer in running)
        return min(
            (each for each in waiting if busy[each.client, each.group] < self._share(each.client)),
            key=lambda each: (
                busy[each.client, each.group],
                self._turns.get(each.client, 0),
                each.entered,
            ),
            default=None,
        )

    def _share(self, client: str) -> int:
        """How many workers a client's answers may take: other clients need cores too."""
        since = time.monotonic() - RECENTLY
        others = any(asked > since for each, asked in self._asked.items() if each != client)
        return max((self.workers - 1) // 2 if others else self.workers - 1, 1)

    def estimate(self, waiting: list[Answer], running: list[Answer]) -> list[tuple[Answer, float]]:
        """The waiting answers in the order of their turns, with the seconds until each."""
        now = time.monotonic()
        busy = Counter(answer.client for answer in running)
        free = [
            max(self._started.get(answer.id, now) + self._seconds_of(answer) - now, 0)
            for answer in running
        ]
        free = heapq.nsmallest(self.workers, free + [0.0] * max(self.workers - len(free), 0))
        heapq.heapify(free)
        rounds: Counter[str] = Counter()
        keyed = []
        for answer in sorted(waiting, key=lambda each: each.entered):
            turns = busy[answer.client] + rounds[answer.client]
            keyed.append((turns, self._turns.get(answer.client, 0), answer.entered, answer))
            rounds[answer.client] += 1
        keyed.sort(key=lambda each: each[:3])
        order = []
        for *_, answer in keyed:
            end = heapq.heappop(free) + self._seconds_of(answer)
            heapq.heappush(free, end)
            order.append((answer, end))
        return order

    def _seconds_of(self, answer: Answer) -> float:
        known = self._seconds.get(answer.function)
        if known is None:
            known = (
                sum(self._seconds.values()) / len(self._seconds) if self._seconds else FIRST_GUESS
            )
        return known

    def started(self, answer: Answer) -> None:
        """Note the time and the turn."""
        self._started[answer.id] = time.monotonic()
        self._turn += 1
        self._turns.pop(answer.client, None)
        self._turns[answer.client] = self._turn
        if len(self._turns) > REMEMBERED:
            del self._turns[next(iter(self._turns))]

    def ended(self, answer: Answer, outcome: Outcome, files: set[str]) -> str | None:
        """Count and log an answer; return the sentence that its visitor reads instead, if any."""
        now = time.monotonic()
        self.answers += 1
        started = self._started.pop(answer.id, now)
        run, wait = now - started, started - answer.entered
        usual = self._seconds.get(answer.function, run)
        self._seconds[answer.function] = usual + 0.1 * (run - usual)
        self._store.answered(answer.id, answer.session, answer.function, files | answer.files)
        metrics.ANSWERS.labels(answer.function, outcome).inc()
        metrics.RUN_SECONDS.labels(answer.function).observe(run)
        metrics.WAIT_SECONDS.observe(wait)
        log.write(
            "answer",
            id=answer.id,
            client=log.pseudonym(answer.client),
            function=answer.function,
            outcome=outcome,
            wait_ms=round(1000 * wait, 1),
            run_ms=round(1000 * run, 1),
        )
        if outcome == "odd":
            return self._translate(answer.scope, "odd_event", {})
        if outcome != "failed":
            return None
        return self._translate(answer.scope, "failed" if self._store.fits() else "no_room", {})
