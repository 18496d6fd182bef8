"""Serve a page to strangers: Gradio's own server with its doors guarded, until told to stop."""

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

from serving import doors, files, journal, lean
from serving.connections import Connection
from serving.files import Store
from serving.guard import Guard, Limits
from serving.queueing import SESSIONS, Desk
from serving.sentences import Say, say_in_english

OPEN_FILES = 8192  # that the process asks the system for
GRACE = 30.0  # seconds that running answers may take when the process is told to stop


class Running:
    """A page that is served."""

    def __init__(self, blocks: gr.Blocks, desk: Desk, store: Store) -> None:
        self.blocks = blocks
        self._desk = desk
        self.store = store
        self._told = threading.Event()

    def wait(self, first: Callable[[], object]) -> None:
        """Do something first, then serve until told to stop (SIGTERM or SIGINT), and stop."""

        def stop(signal_number: int, frame: FrameType | None) -> None:
            self._desk.closing = True
            self._told.set()

        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, stop)  # instead of Gradio's, which break running answers off
        first()
        while not self._told.wait(1):
            self._desk.tidy()
        self.stop()

    def stop(self, grace: float = GRACE) -> None:
        """Refuse new requests, let the running ones end, and close."""
        self._desk.closing = True
        journal.write("closing", waiting=self._desk.length)
        ended = asyncio.run(self._desk.emptied(grace))
        time.sleep(0.5)  # for the last answers to be sent
        if node := getattr(self.blocks, "node_process", None):
            self.blocks._end_streaming_responses()
            node_server.stop_node_process(node)
        self.blocks.close(verbose=False)
        self.store.sweep(everything=True)
        journal.write("closed", all_answered=ended)


def launch(
    blocks: gr.Blocks,
    limits: Limits,
    workers: int,
    say: Say = say_in_english,
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
    say
        Makes the server's own sentences in a visitor's language.
    options
        Of Gradio's `launch`.

    Raises
    ------
    OSError
        When the port is taken.
    """
    journal.start()
    files.refuse_addresses()
    lean.draw_no_plots()
    desk = Desk(blocks, limits.places, workers, say)
    store = Store(blocks, limits.kept)
    desk.has_room = store.has_room
    open_limit = _open_files() * 8 // 10

    def configure(app: object, **given: object) -> uvicorn.Config:
        Connection.limit = open_limit
        return uvicorn.Config(
            Guard(app, desk, store, limits, open_limit, say),
            **given,
            http=Connection,
            ws="none",
            h11_max_incomplete_event_size=2 * doors.HEADERS_LIMIT,
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
        state_session_capacity=SESSIONS,
        enable_monitoring=False,
        run_history=False,  # would keep visitors' inputs
        num_workers=0,  # processes that serve files past the guard
        ssl_verify=False,  # when it asks itself, over HTTP: no certificates have to be read
        prevent_thread_lock=True,
        quiet=False,
    )
    store.keep_tidy()
    journal.write("serving", workers=workers, places=limits.places)
    return Running(blocks, desk, store)


def _open_files() -> int:
    """Raise the number of files and connections that may be open; return it."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = OPEN_FILES if hard == resource.RLIM_INFINITY else min(OPEN_FILES, hard)
    if soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
    return max(soft, wanted)
