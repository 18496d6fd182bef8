"""Serve a page on the open internet: a separate server, with the guard in front of Gradio's app."""

import asyncio
import os
import resource
import secrets
import signal
import socket
import threading
import time
import warnings
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field
from functools import partial
from http.client import HTTPConnection
from pathlib import Path
from subprocess import Popen
from types import FrameType

import gradio as gr
import uvicorn
from fastapi import FastAPI
from starlette.middleware import Middleware
from starlette.responses import FileResponse

from serving import decoding, heap, internals, log, preloads, routes
from serving.connections import Connection
from serving.files import Store
from serving.guard import GUARD_PROBE, Guard
from serving.kept import Kept, Pages
from serving.messages import Translate
from serving.node import NodePages
from serving.queueing import AnswerQueue
from serving.settings import CannotStart, Settings
from serving.sockets import LOCALHOST, take_port

OPEN_FILES = 8192  # open files that the process requests from the system
GRACE = 30.0  # seconds for running answers when the process is told to stop
START = 30.0  # seconds for the server to start
BACKLOG = 2048  # connections that wait to be accepted
CLOSE = 2.0  # seconds for open connections to end


class Unguarded(CannotStart):
    """The guard is not in front of the page."""


@dataclass(frozen=True)
class Look:
    """The look of a page, and its own files; see `gradio.mount_gradio_app`."""

    theme: gr.themes.Base | None = None
    css_paths: Path | None = None
    head: str | None = None
    preview: Path | None = None  # the picture that other sites show with a link
    allowed_paths: Sequence[str] = ()
    middleware: Sequence[Middleware] = field(default_factory=list)
    node_imports: Sequence[Path] = ()  # imported by Node before it renders pages


class Running:
    """A page that is being served."""

    def __init__(
        self,
        blocks: gr.Blocks,
        guard: Guard,
        server: uvicorn.Server,
        thread: threading.Thread,
        node: "Popen[bytes] | None",
    ) -> None:
        self.blocks = blocks
        self.guard = guard
        self.queue = guard.queue
        self.store = guard.store
        self.server = server
        self._thread = thread
        self._node = node
        self._stopping = threading.Event()

    def wait(self, first: Callable[[], object]) -> None:
        """Call `first`, then serve until told to stop (SIGTERM or SIGINT), and stop."""

        def stop(signal_number: int, frame: FrameType | None) -> None:
            self.queue.closing = True
            self._stopping.set()

        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, stop)
        try:
            first()
        except Exception:  # the page works without it, but more slowly at first
            log.fault()
        answers, given_back = self.queue.answers, time.monotonic()
        while not self._stopping.wait(1):
            self.queue.tidy()
            if self.queue.answers != answers and time.monotonic() - given_back > heap.EVERY:
                answers, given_back = self.queue.answers, time.monotonic()
                heap.give_back()
                decoding.give_back()
        self.stop()

    def stop(self, grace: float = GRACE) -> None:
        """Refuse new requests, let the running ones end, and close."""
        self.queue.closing = True
        log.write("closing", waiting=self.queue.length)
        ended = asyncio.run(self.queue.emptied(grace))
        time.sleep(0.5)  # so that the last answers are sent
        if self._node:
            internals.stop_node(self._node)
        self.queue.close()
        internals.end_heartbeats(self.blocks)
        self.server.should_exit = True
        self._thread.join(CLOSE + 5)
        self.blocks.is_running = False
        self.store.sweep(everything=True)
        log.write("closed", all_answered=ended)


def launch(
    blocks: gr.Blocks,
    settings: Settings,
    look: Look,
    workers: int,
    translate: Translate,
    listening: socket.socket | None = None,
    ssr: bool | None = None,
) -> Running:
    """Serve a page in a new thread.

    Parameters
    ----------
    blocks
        The page.
    settings
        The address, and the limits.
    look
        How the page looks.
    workers
        How many answers may be computed at a time.
    translate
        Gives the server's own sentences in a visitor's language.
    listening
        The socket from `take_port`, if it was called before.
    ssr
        Whether Node renders the page; by default, $GRADIO_SSR_MODE decides.

    Raises
    ------
    CannotStart
        If the port is in use, or the guard would be incomplete or is not in front of the page.
    """
    changed = internals.check()
    log.start()
    listening = listening or take_port(settings.host, settings.port)
    listening.listen(BACKLOG)
    host, port = listening.getsockname()[:2]
    reachable = _reachable(host)
    internals.protect(log.fault)
    if not any("Matplotlib" in place for place in changed):
        internals.draw_no_plots()
    if "gradio.utils:is_static_file" not in changed:
        internals.uploads_are_not_static()
    store = Store(blocks, settings.keep_seconds)
    queue = AnswerQueue(blocks, store, settings.max_waiting, workers, translate)
    token = secrets.token_urlsafe(32)
    with nullcontext() if "gradio.routes:Depends" in changed else internals.login_needs_no_thread():
        app = _mount(blocks, settings, look, host, port)
    mcp_bytes = routes.photo_as_text(settings.photo_bytes)
    internals.mounted(app, blocks, f"http://{reachable}:{port}/", token, mcp_bytes)
    open_limit = _open_files() * 8 // 10
    pages = NodePages(app)
    rendered = os.environ.get("GRADIO_SSR_MODE", "").lower() == "true" if ssr is None else ssr
    finish = partial(_with_links, blocks)
    kept = Kept(pages, Pages(internals.page_paths(blocks), finish, rendered))
    guard = Guard(kept, queue, store, settings, open_limit, translate, token)
    Connection.limit = open_limit
    Connection.translate = staticmethod(translate)
    server, thread = _start(guard, blocks, listening)
    running = Running(blocks, guard, server, thread, None)
    _check_guard(reachable, port, guard)
    if rendered:
        running._node = pages.start(reachable, port, token, look.node_imports)
        kept.pages.rendered = running._node is not None
    store.keep_tidy()
    print(f"* Running on local URL:  http://{host}:{port}", flush=True)  # as Gradio says it
    if settings.share:
        _share(blocks, reachable, port)
        kept.forget()
    log.write("serving", workers=workers, max_waiting=settings.max_waiting)
    return running


def _with_links(blocks: gr.Blocks, path: str, page: str) -> str:
    """A page with links to its scripts and styles in its head."""
    kinds = internals.component_kinds(blocks, path)
    links = preloads.links(page, kinds, internals.page_scripts())
    return page.replace("<head>", f"<head>{links}", 1)


def _mount(blocks: gr.Blocks, settings: Settings, look: Look, host: str, port: int) -> FastAPI:
    """Gradio's app, without what the guard or the page replaces."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # about server-side rendering, which is not Gradio's here
        outer = FastAPI(openapi_url=None, docs_url=None, redoc_url=None)
        if look.preview:
            picture = look.preview
            outer.add_route(f"/{picture.name}", lambda request: FileResponse(picture))
        return gr.mount_gradio_app(
            outer,
            blocks,
            "/",
            server_name=host,
            server_port=port,
            footer_links=[],  # its API page shows nothing here, nor do its settings change anything
            run_history=False,  # it would keep visitors' inputs
            app_kwargs={"middleware": list(look.middleware)},
            allowed_paths=list(look.allowed_paths),
            show_error=False,
            max_file_size=settings.photo_bytes,
            ssr_mode=False,  # otherwise Node would be in front of the guard
            enable_monitoring=False,
            mcp_server=True,
            theme=look.theme,
            css_paths=look.css_paths,
            head=look.head,
        )


def _start(
    guard: Guard, blocks: gr.Blocks, listening: socket.socket
) -> tuple[uvicorn.Server, threading.Thread]:
    """Start the server in a new thread, and wait until it accepts requests.

    Raises
    ------
    CannotStart
        If it ends, or takes too long.
    """
    config = uvicorn.Config(
        guard,
        log_level="warning",
        log_config=None,  # its own would write lines that are not JSON
        http=Connection,
        ws="none",
        h11_max_incomplete_event_size=2 * routes.HEADERS_LIMIT,
        server_header=False,
        # Gradio reads the address that the visitor used itself, and `serving.clients` who it is.
        proxy_headers=False,
        timeout_graceful_shutdown=int(CLOSE),
    )
    server = uvicorn.Server(config)
    internals.served_by(blocks, server)
    thread = threading.Thread(
        target=server.run, kwargs={"sockets": [listening]}, name="server", daemon=True
    )
    thread.start()
    end = time.monotonic() + START
    while not server.started:
        if not thread.is_alive() or time.monotonic() > end:
            raise CannotStart("The server did not start.")
        time.sleep(0.001)
    return server, thread


def _reachable(host: str) -> str:
    """The address at which this process reaches itself."""
    return {"0.0.0.0": LOCALHOST, "::": "[::1]"}.get(host, f"[{host}]" if ":" in host else host)  # noqa: S104


def _check_guard(host: str, port: int, guard: Guard) -> None:
    """Request a route that Gradio has and the guard closes.

    Raises
    ------
    Unguarded
        If it is answered, or the guard has not seen it.
    """
    seen = guard.probes
    connection = HTTPConnection(host.strip("[]"), port, timeout=START)
    try:
        connection.request("GET", GUARD_PROBE)
        answer = connection.getresponse()
        answer.read()
    finally:
        connection.close()
    if answer.status != 404 or guard.probes != seen + 1:
        raise Unguarded("The guard does not stand in front of the page, so it is not served.")


def _share(blocks: gr.Blocks, host: str, port: int) -> None:
    try:
        address = internals.open_tunnel(host, port)
    except Exception as error:  # a failure of the network, the download, or the program's start
        log.write("share", failed=type(error).__name__)
        print("A public link cannot be opened: please check the connection to the internet.")
        return
    internals.shared(blocks, address)
    print(f"* Running on public URL: {address}", flush=True)


def _open_files() -> int:
    """Raise the limit of open files and connections; return it."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = OPEN_FILES if hard == resource.RLIM_INFINITY else min(OPEN_FILES, hard)
    if soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
    return max(soft, wanted)
