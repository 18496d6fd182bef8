"""Serve a page on the open internet: Gradio's own server behind the guard, until told to stop."""

import asyncio
import resource
import signal
import threading
import time
from collections.abc import Callable
from types import FrameType, SimpleNamespace

import gradio as gr
import uvicorn
from gradio import http_server, node_server

from serving import files, lean, log, routes
from serving.connections import Connection
from serving.files import Store
from serving.guard import Guard, Limits
from serving.messages import Translate
from serving.queueing import MAX_SESSIONS, AnswerQueue

OPEN_FILES = 8192  # that the process asks the system for
GRACE = 30.0  # seconds that running answers may take when the process is told to stop


class Running:
    """A page that is served."""

    def __init__(self, blocks: gr.Blocks, queue: AnswerQueue, store: Store) -> None:
        self.blocks = blocks
        self._queue = queue
        self.store = store
        self._stopping = threading.Event()

    def wait(self, first: Callable[[], object]) -> None:
        """Do something first, then serve until told to stop (SIGTERM or SIGINT), and stop."""

        def stop(signal_number: int, frame: FrameType | None) -> None:
            self._queue.closing = True
            self._stopping.set()

        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, stop)  # instead of Gradio's, which break running answers off
        first()
        while not self._stopping.wait(1):
            self._queue.tidy()
        self.stop()

    def stop(self, grace: float = GRACE) -> None:
        """Refuse new requests, let the running ones end, and close."""
        self._queue.closing = True
        log.write("closing", waiting=self._queue.length)
        ended = asyncio.run(self._queue.emptied(grace))
        time.sleep(0.5)  # for the last answers to be sent
        if node := getattr(self.blocks, "node_process", None):
            self.blocks._end_streaming_responses()
            node_server.stop_node_process(node)
        self.blocks.close(verbose=False)
        self.store.sweep(everything=True)
        log.write("closed", all_answered=ended)


def launch(
    blocks: gr.Blocks,
    limits: Limits,
    workers: int,
    translate: Translate,
    **options: object,
) -> Running:
    """Serve a page in a thread of its own.

    Parameters
    ----------
    blocks
        The page.
    limits
        What is let in.
    workers
        How many answers are computed at a time.
    translate
        Makes the server's own messages in a visitor's language.
    options
        Of Gradio's `launch`.

    Raises
    ------
    OSError
        When the port is taken.
    """
    log.start()
    files.refuse_addresses()
    lean.draw_no_plots()
    queue = AnswerQueue(blocks, limits.max_waiting, workers, translate)
    store = Store(blocks, limits.keep_seconds)
    queue.has_room = store.has_room
    open_limit = _open_files() * 8 // 10

    def configure(app: object, **given: object) -> uvicorn.Config:
        Connection.limit = open_limit
        Connection.translate = staticmethod(translate)
        return uvicorn.Config(
            Guard(app, queue, store, limits, open_limit, translate),
            **given,
            http=Connection,
            ws="none",
            h11_max_incomplete_event_size=2 * routes.HEADERS_LIMIT,
            server_header=False,
            # Gradio reads the address that the visitor used itself, and `serving.clients` who it is
            proxy_headers=False,
        )

    # Gradio makes the server's configuration itself and takes no options for it; set before it
    # starts, so that no connection is ever unguarded.
    http_server.uvicorn = SimpleNamespace(Config=configure)
    blocks.launch(
        **options,
        max_file_size=limits.photo_bytes,
        state_session_capacity=MAX_SESSIONS,
        enable_monitoring=False,
        run_history=False,  # would keep visitors' inputs
        num_workers=0,  # processes that serve files past the guard
        ssl_verify=False,  # when it asks itself, over HTTP: no certificates have to be read
        prevent_thread_lock=True,
        quiet=False,
    )
    store.keep_tidy()
    log.write("serving", workers=workers, max_waiting=limits.max_waiting)
    return Running(blocks, queue, store)


def _open_files() -> int:
    """Raise the number of files and connections that may be open; return it."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = OPEN_FILES if hard == resource.RLIM_INFINITY else min(OPEN_FILES, hard)
    if soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
    return max(soft, wanted)
