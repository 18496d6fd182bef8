"""Gradio's queue, bounded and fair: how long it is, whose it is, what comes out of it."""

import asyncio
import math
import sys
import time
from collections import Counter
from copy import copy
from types import SimpleNamespace

import gradio as gr
from gradio import queueing, state_holder
from gradio.queueing import Event
from gradio.server_messages import EventMessage, ProcessCompletedMessage, ProcessStartsMessage
from gradio.state_holder import SessionState

from serving import lean, log, metrics
from serving.messages import Translate

CLIENT = "petscope.client"  # where a request's scope says who asks
MAX_PENDING = 40  # answers that one client may wait for; a new photo on the page asks for some 15
MAX_SESSIONS = 500  # whose answers and choices are kept; each open page is one
# Seconds between two answers to all who wait where in the queue they are. By default all hear of
# each answer that is begun: with fifty waiting, that was a tenth of all work.
STATUS_INTERVAL = 1.0
POLL_INTERVAL = 0.005  # seconds between two looks at the queue while there is nothing to do


class Session(SessionState):
    """A visitor's choices, and not what was shown.

    Gradio also keeps the page's whole configuration for each, with all that it shows, for links to
    a visitor's view. That route is closed here, and making it took 20 ms for each new session.
    """

    def __init__(self, blocks: gr.Blocks) -> None:
        """Begin with the page as it is for everybody."""
        self.blocks_config = copy(blocks.default_config)
        self.config_values = {}
        self.state_data = {}
        self._state_ttl = {}
        self.is_closed = False
        self.STATE_TTL_WHEN_CLOSED = 3600  # seconds

    def _update_config(self, key: int) -> None:
        pass

    def _update_value_in_config(self, key: int, value: object) -> None:
        pass


class AnswerQueue:
    """Gradio's queue of a page, as the guard and the server see it.

    Attributes
    ----------
    closing
        Whether nobody is let in any more.
    """

    def __init__(
        self, blocks: gr.Blocks, max_waiting: int, workers: int, translate: Translate
    ) -> None:
        """Set up the queue of a page; `workers` answers are computed at a time."""
        self._translate = translate
        with lean.unlaunched():
            blocks.queue(
                status_update_rate=STATUS_INTERVAL,
                max_size=max_waiting,
                default_concurrency_limit=workers,
                api_open=False,
            )
        self.closing = False
        self.max_waiting = max_waiting
        self.workers = workers
        self.has_room = lambda: True  # on the disk
        self._seconds = 0.5  # that an answer takes, lately
        self._started: dict[str, float] = {}
        self._gradio_queue = blocks._queue
        self._prepare(self._gradio_queue)

    @property
    def length(self) -> int:
        """How many answers wait or are computed."""
        return len(self._gradio_queue.event_ids_to_events)

    @property
    def waiting(self) -> int:
        """How many answers wait."""
        return len(self._gradio_queue)

    def waiting_for(self, client: str) -> int:
        """How many answers a client waits for."""
        return sum(
            event.request.scope.get(CLIENT) == client
            for event in list(self._gradio_queue.event_ids_to_events.values())
        )

    def seconds_left(self, answers: int) -> int:
        """About how long so many answers take, in whole seconds, at least one."""
        return max(1, math.ceil(answers * self._seconds / self.workers))

    async def emptied(self, timeout: float) -> bool:
        """Wait until all that were let in have their answers; return whether they do."""
        end = time.monotonic() + timeout
        while self.length and time.monotonic() < end:
            await asyncio.sleep(0.05)
        return not self.length

    def tidy(self) -> None:
        """Forget sessions whose answers nobody fetched."""
        queue = self._gradio_queue
        busy = Counter(event.session_hash for event in list(queue.event_ids_to_events.values()))
        for session in list(queue.pending_event_ids_session):
            if session not in queue.pending_messages_per_session and not busy[session]:
                queue.pending_event_ids_session.pop(session, None)
        for event in set(self._started) - set(queue.event_ids_to_events):
            self._started.pop(event, None)

    def _prepare(self, queue: queueing.Queue) -> None:
        queue.pending_messages_per_session.max_size = MAX_SESSIONS
        # By default it looks a thousand times a second, and after each answer makes a table of the
        # last 10,000 for a page of statistics that is closed here.
        queue.sleep_when_free = POLL_INTERVAL
        queue.progress_update_sleep_when_free = 10 * POLL_INTERVAL
        queue.ANALYTICS_MAX_EVENTS, queue.ANAYLTICS_CACHE_FREQUENCY = 1, sys.maxsize
        state_holder.SessionState = Session
        # Its traces quote paths, that is the names of visitors' photos.
        queueing.traceback = SimpleNamespace(print_exc=log.fault)

        send = queue.send_message

        def watched(event: Event, message: EventMessage) -> None:
            if isinstance(message, ProcessStartsMessage):
                self._started[event._id] = time.monotonic()
            elif isinstance(message, ProcessCompletedMessage):
                self._completed(event, message)
            send(event, message)

        queue.send_message = watched

    def _completed(self, event: Event, message: ProcessCompletedMessage) -> None:
        outcome = "answered"
        if not event.alive:
            outcome = "left"
        elif not message.success:
            # An error meant for the visitor has its sentence; others are bugs or a lack of room.
            outcome = "refused" if message.output.get("error") else "failed"
            if outcome == "failed":
                reason = "failed" if self.has_room() else "no_room"
                sentence = self._translate(event.request.scope, reason, {})
                message.output |= {"error": sentence, "visible": True, "duration": 10}
        now = time.monotonic()
        started = self._started.pop(event._id, now)
        run, wait = now - started, started - event.enqueue_time
        self._seconds += 0.1 * (run - self._seconds)
        name = event.fn.api_name or getattr(event.fn.fn, "__name__", "none")
        metrics.count("petscope_answers_total", function=name, outcome=outcome)
        metrics.observe("petscope_run_seconds", run, function=name)
        metrics.observe("petscope_wait_seconds", wait)
        log.write(
            "answer",
            id=event._id,
            client=log.pseudonym(event.request.scope.get(CLIENT, "")),
            function=name,
            outcome=outcome,
            wait_ms=round(1000 * wait, 1),
            run_ms=round(1000 * run, 1),
        )
