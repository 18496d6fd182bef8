"""The only module that reaches into private parts of Gradio, uvicorn and MCP, with the reasons.

Any release may change them, so `check` compares them at the start with what this module expects.
The guard depends on most of them: if one of these has changed, the app does not start. The others
only save time: if one of those has changed, the app does without it. What must be changed before
Gradio is imported is in `lean`.
"""

import asyncio
import inspect
import os
import re
import secrets
import sys
from collections.abc import Callable, Collection, Iterable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from copy import copy
from datetime import datetime
from importlib import import_module
from operator import attrgetter
from pathlib import Path
from subprocess import Popen
from types import FunctionType, ModuleType, SimpleNamespace
from typing import Any, NamedTuple
from urllib.parse import unquote, urlsplit

import fastapi
import gradio as gr
import uvicorn
from fastapi import FastAPI
from fastapi.concurrency import run_in_threadpool
from gradio import (
    networking,
    node_server,
    processing_utils,
    queueing,
    route_utils,
    state_holder,
    utils,
)
from gradio import routes as gradio_routes
from gradio.context import LocalContext
from gradio.data_classes import PredictBodyInternal
from gradio.mcp import GradioMCPServer
from gradio.route_utils import GradioMultiPartParser
from gradio.server_messages import (
    CloseStreamMessage,
    EstimationMessage,
    EventMessage,
    ProcessCompletedMessage,
    ProcessGeneratingMessage,
    ProcessStartsMessage,
)
from gradio.state_holder import SessionState
from gradio.utils import get_node_path, get_upload_folder, is_static_file
from starlette.datastructures import FormData
from starlette.types import Message
from uvicorn.protocols.http.h11_impl import STATUS_PHRASES, H11Protocol

from serving import data_urls
from serving.answers import Answer, Outcome, Rules
from serving.settings import CannotStart
from serving.sockets import take_port

__all__ = [
    "CLIENT",
    "FOR_CLIENT",
    "INTERNAL",
    "NO_ADDRESSES",
    "SESSION",
    "STATUS_PHRASES",
    "H11Protocol",
    "Queue",
    "Session",
    "Unexpected",
    "check",
    "component_kinds",
    "current_answer",
    "current_client",
    "current_request",
    "draw_no_plots",
    "end_heartbeats",
    "ends_stream",
    "files_of_page",
    "forget_deleted_files",
    "hangs_up",
    "login_needs_no_thread",
    "mounted",
    "open_tunnel",
    "page_files",
    "page_paths",
    "page_scripts",
    "protect",
    "shared",
    "start_node",
    "stop_node",
    "unlaunched",
    "upload_folder",
    "uploads_are_not_static",
]

# Seconds between two messages that tell waiting clients their place in the queue. By default, each
# answer that begins causes a message to all of them: with fifty waiting, that was a tenth of all
# work.
STATUS_INTERVAL = 1.0
POLL_INTERVAL = 0.005  # seconds between two looks at an idle queue
INTERNAL = b"x-petscope-internal"  # header of the app's own requests, with the guard's token
FOR_CLIENT = b"x-petscope-client"  # header of these: the client on whose behalf the app makes it
CLIENT = "petscope.client"  # key of a request's scope for the client that asks
SESSION = "session"  # key of a request's state for the session whose question it has brought
# The message that ends a stream of answers; only that of a page, not of `/call`, has one.
_END = f"data: {CloseStreamMessage().model_dump_json()}\n\n".encode()
_FILE_ADDRESS = re.compile(r"/gradio_api/file=([^\s\"'?<>&]+)")
# How the page's HTML names its main script, and how the built scripts name the files that they
# load.
_MAIN_SCRIPT = re.compile(r'<script type="module"[^>]* src="\./assets/([^"]+)"')
_FILES = re.compile(r"m\.f=(\[[^\]]*\])")
# A script that is loaded by another, and the numbers of the files that it needs in turn.
_IMPORT = re.compile(
    r"import\(`\./(?P<name>[^`]+)`\)(?:(?!import\(|mapDeps).)*?__vite__mapDeps\(\[(?P<needs>[\d,]*)\]\)"
)
_KIND = re.compile(rf"(?P<kind>\w+):\{{|\bcomponent:\(\)=>\w+\(\(\)=>{_IMPORT.pattern}")
ODD_VALUES = (
    "These values cannot be read: please send as many as the endpoint takes, each as "
    "/gradio_api/info describes it."
)
ODD_EVENT = "an event that no page sends"  # its visitor gets a sentence of the rules instead
SEND_FILES = (
    " A local file is sent as a data URL: data:image/jpeg;base64, and then its bytes in base64 "
    "(image/png and so on for others). Web addresses are not fetched."
)
NO_ADDRESSES = "Web addresses are not fetched here: please send the file itself."


class Unexpected(CannotStart):
    """A private part that the guard depends on has changed since the tested release.

    Its text is one sentence for the person who starts the app.
    """

    def __init__(self, place: str) -> None:
        super().__init__(
            f"The installed packages do not fit this version of Petscope: {place} has changed, on "
            "which its guard depends. Please install requirements.txt again."
        )


class Need(NamedTuple):
    """A private part of a package.

    Attributes
    ----------
    place
        `module:name`, where the name may be `Class.attribute`.
    expected
        Its type, or its parameters' names.
    why
        Why it is needed.
    guard
        Whether the guard depends on it, or only the speed.
    """

    place: str
    expected: type | str
    why: str
    guard: bool = True


_FETCHES = "fetches an address that a visitor sends; replaced by a refusal"
_CONNECTION = "a connection's life, in which time limits begin and end; overridden"
_H11 = "uvicorn.protocols.http.h11_impl:H11Protocol"
_MESSAGES = "what a client is told about its answer"

NEEDS = (
    # Where files are stored, and that none is fetched.
    Need("gradio.utils:get_upload_folder", "", "the folder of uploads and results"),
    Need(
        "gradio.context:LocalContext.event_id", ContextVar, "which answer is computed in a thread"
    ),
    Need("gradio.context:LocalContext.request", ContextVar, "whose answer, and in which language"),
    Need("gradio.processing_utils:hash_seed", bytes, "key of the folders' names; replaced"),
    Need(
        "gradio.processing_utils:_check_allowed",
        "path check_in_upload_folder",
        "refuses an event that names a file which was not uploaded",
    ),
    Need("gradio.route_utils:GradioMultiPartParser.parse", "self", "reads uploads; overridden"),
    Need("gradio.processing_utils:async_ssrf_protected_get", "url", _FETCHES),
    Need("gradio.processing_utils:async_ssrf_protected_download", "url cache_dir", _FETCHES),
    Need("gradio.processing_utils:ssrf_protected_download", "url cache_dir", _FETCHES),
    Need("gradio.processing_utils:save_url_to_cache", "url cache_dir", _FETCHES),
    Need("gradio.processing_utils:unsafe_download", "url cache_dir", _FETCHES),
    Need(
        "gradio.blocks:Blocks.preprocess_data",
        "self block_fn inputs state explicit_call",
        "parses what is sent; a failure there gets a sentence",
    ),
    # The queue: whose turn it is, how each answer ends, which sessions are kept.
    Need(
        "gradio.queueing:Queue.__init__",
        "self live_updates concurrency_count update_intervals max_size blocks "
        "default_concurrency_limit",
        "`Queue` takes its place",
    ),
    Need("gradio.queueing:Queue.push", "self body request username", "lets an event in"),
    Need("gradio.queueing:Queue.get_events", "self", "takes the next event"),
    Need("gradio.queueing:Queue.send_message", "self event event_message", _MESSAGES),
    Need("gradio.queueing:Queue.broadcast_estimations", "self concurrency_id after", _MESSAGES),
    Need("gradio.queueing:Queue.compute_analytics_summary", "self records", "not needed; left out"),
    Need("gradio.queueing:traceback", ModuleType, "writes paths of files; replaced"),
    Need("gradio.state_holder:SessionState", type, "a session's choices; replaced by `Session`"),
    Need("gradio.state_holder:SessionState.__setitem__", "self key value", "keeps a choice"),
    Need("gradio.state_holder:StateHolder.__getitem__", "self session_id", "makes sessions"),
    # The routes that the guard knows, and its place in front of them.
    Need(
        "gradio.routes:App.create_app",
        "blocks app app_kwargs auth_dependency strict_cors mcp_server debug parent_app",
        "makes the routes, of which `routes` opens those that are needed",
    ),
    Need(
        "gradio.mcp:GradioMCPServer._prepare_tool_call_args",
        "self name arguments",
        "passes a client's headers on with the call that MCP makes for it",
    ),
    Need("gradio.mcp:GradioMCPServer._get_or_create_client", "self", "makes that call; marked"),
    Need(
        "gradio.mcp:GradioMCPServer.simplify_filedata_schema",
        "self schema",
        "says in MCP's tools what a file is",
    ),
    Need(
        "gradio.mcp:GradioMCPServer._file_data_tool_description",
        property,
        "says in MCP's tools how a file is sent; replaced",
    ),
    Need("gradio.mcp:GradioMCPServer.local_url", property, "where that call goes"),
    Need(
        f"{_H11}.__init__",
        "self config server_state app_state _loop",
        "`Connection` takes its place",
    ),
    Need(
        "uvicorn.protocols.http.h11_impl:H11Protocol.connection_made", "self transport", _CONNECTION
    ),
    Need(f"{_H11}.data_received", "self data", _CONNECTION),
    Need(f"{_H11}.connection_lost", "self exc", _CONNECTION),
    Need(f"{_H11}.on_response_complete", "self", _CONNECTION),
    Need(f"{_H11}.send_400_response", "self msg", _CONNECTION),
    Need(
        "h11:Connection.trailing_data",
        property,
        "the part of the next request's head that has arrived",
    ),
    Need(
        "gradio.routes:CloseStreamMessage",
        type,
        "ends a session's stream of answers; until it is read, an answer could get lost",
        guard=False,
    ),
    # Ways to the page. Without them it is served, but neither rendered by Node nor reachable by a
    # tunnel.
    Need(
        "gradio.node_server:start_node_server",
        "server_name server_port node_path python_port python_host static_worker_ports debug "
        "on_shutdown",
        "starts Node, where the page is rendered on the server",
        guard=False,
    ),
    Need(
        "gradio.networking:setup_tunnel",
        "local_host local_port share_token share_server_address share_server_tls_certificate",
        "opens the public link of --share",
        guard=False,
    ),
    Need(
        "gradio.utils:MatplotlibBackendMananger", type, "imports Matplotlib; left out", guard=False
    ),
    Need(
        "gradio.routes:Depends",
        FunctionType,
        "declares a route's check of the login, which needs no thread; wrapped",
        guard=False,
    ),
    Need(
        "gradio.utils:is_static_file",
        "file_path",
        "compares a file with the page's icons; skipped for uploads",
        guard=False,
    ),
)


def check(needs: Iterable[Need] = NEEDS) -> set[str]:
    """Check whether private parts are as expected.

    Returns
    -------
    The places that are not, if only speed depends on them.

    Raises
    ------
    Unexpected
        If the guard depends on one that is not.
    """
    changed = {need.place: need.guard for need in needs if not _is_as_expected(need)}
    for place, guard in changed.items():
        if guard:
            raise Unexpected(place)
    return set(changed)


def _is_as_expected(need: Need) -> bool:
    module, name = need.place.split(":")
    try:
        found = attrgetter(name)(import_module(module))
        if isinstance(need.expected, type):
            return isinstance(found, need.expected)
        return list(inspect.signature(found).parameters) == need.expected.split()
    except (ImportError, AttributeError, TypeError, ValueError):
        return False


def _paths(value: object) -> Iterator[str]:
    """Paths of files in an event's data, given as file data or as this app's addresses in text."""
    if isinstance(value, dict):
        path = value.get("path")
        if isinstance(path, str):
            yield path
        yield from _paths(list(value.values()))
    elif isinstance(value, list | tuple):
        for part in value:
            yield from _paths(part)
    elif isinstance(value, str):
        yield from map(unquote, _FILE_ADDRESS.findall(value))


def current_answer() -> str | None:
    """The id of the answer that this thread is computing."""
    return LocalContext.event_id.get(None)


def current_request() -> Any:  # noqa: ANN401 -- Gradio's, which is like Starlette's
    """The request that this thread is answering, or None."""
    return LocalContext.request.get(None)


def current_client() -> str:
    """The client whose request this thread is answering, as the guard knows it."""
    request = current_request()
    own = getattr(request, "request", None)  # Starlette's; Gradio's copies what it gives away
    return str(own.scope.get(CLIENT, "unknown")) if own else "unknown"


def upload_folder() -> Path:
    """The folder of uploads and results."""
    return Path(get_upload_folder())


def page_files(blocks: gr.Blocks) -> set[str]:
    """The page's own files in the folder, which belong to no visitor."""
    return {os.fspath(path) for block in blocks.blocks.values() for path in block.keep_in_cache}


def forget_deleted_files(blocks: gr.Blocks) -> None:
    """Let Gradio forget the paths of deleted files; it remembers all, to delete them itself."""
    for paths in blocks.temp_file_sets:
        for path in list(paths):
            if not Path(path).exists():
                paths.discard(path)


def protect(report_fault: Callable[[], None]) -> None:
    """Close what Gradio leaves open: fetching addresses, predictable names, paths in tracebacks.

    Parameters
    ----------
    report_fault
        Called instead of printing the exception that is being handled.
    """
    _refuse_addresses()
    _tell_how_to_send_files()
    # Gradio names a file's folder by a keyed hash of its content, with a key that is stored beside
    # its code. This key lasts only as long as the process, and is never stored.
    processing_utils.hash_seed = secrets.token_bytes(32)
    route_utils.GradioMultiPartParser = _Form  # type: ignore[misc]
    queueing.traceback = SimpleNamespace(print_exc=lambda *_: report_fault())  # type: ignore[assignment]


def _refuse_addresses() -> None:
    """Keep Gradio from fetching web addresses that visitors send, public, private or redirected.

    The address of one of this app's own files, as MCP clients send it, is taken as the file.
    """

    async def get(url: str) -> None:
        raise gr.Error(NO_ADDRESSES, print_exception=False)

    def download(url: str, cache_dir: str) -> str:
        _, _, path = unquote(urlsplit(url).path).partition("/gradio_api/file=")
        held = Path(path).resolve()
        if path and held.is_relative_to(upload_folder().resolve()) and held.is_file():
            return str(held)
        raise gr.Error(NO_ADDRESSES, print_exception=False)

    async def async_download(url: str, cache_dir: str) -> str:
        return download(url, cache_dir)

    vars(processing_utils).update(
        async_ssrf_protected_get=get,
        async_ssrf_protected_download=async_download,
        ssrf_protected_download=download,
        save_url_to_cache=download,
        unsafe_download=download,
    )


@contextmanager
def unlaunched() -> Iterator[None]:
    """Let Gradio skip, while the page is built, what it makes anew when the page is launched.

    That is the routes and the description of the page, each time that the page or one of its parts
    is begun or ended, or gets its queue: 0.3 s of processor time until the first page, median of
    seven starts in turns. A Gradio that is built differently skips nothing.
    """
    left_out = {
        (gradio_routes.App, "create_app"): staticmethod(_nothing),
        (gr.Blocks, "get_config_file"): _empty,
    }
    kept = {place: vars(place[0]).get(place[1]) for place in left_out}
    if not all(kept.values()):
        yield
        return
    for (owner, name), replacement in left_out.items():
        setattr(owner, name, replacement)
    try:
        yield
    finally:
        for (owner, name), original in kept.items():
            setattr(owner, name, original)


def _nothing(*arguments: object, **options: object) -> None:
    pass


def _empty(*arguments: object, **options: object) -> dict[str, object]:
    return {}


def draw_no_plots() -> None:
    """Keep Gradio from importing Matplotlib only to set its backend at every event."""
    from contextlib import nullcontext

    from gradio import utils

    utils.MatplotlibBackendMananger = nullcontext  # type: ignore[assignment, misc]


def uploads_are_not_static() -> None:
    """Keep Gradio from comparing each upload and result with the page's own icons."""

    def is_static(file_path: Any) -> bool:  # noqa: ANN401 -- whatever Gradio's own takes
        path = getattr(file_path, "path", file_path)
        stored = isinstance(path, str) and path.startswith(get_upload_folder() + os.sep)
        return not stored and is_static_file(file_path)

    utils.is_static_file = is_static


@contextmanager
def login_needs_no_thread() -> Iterator[None]:
    """Let the routes that are made in this context check the login in the event loop.

    Gradio's check compares two values, but is no coroutine, so FastAPI would run it in another
    thread, at every request.
    """
    declare = gradio_routes.Depends

    def depends(dependency: Callable[..., Any] | None = None, **options: Any) -> Any:  # noqa: ANN401
        if dependency is not None and dependency.__name__ == "login_check":
            dependency = _as_coroutine(dependency)
        return declare(dependency, **options)

    vars(gradio_routes)["Depends"] = depends
    try:
        yield
    finally:
        vars(gradio_routes)["Depends"] = declare


def _as_coroutine(function: Callable[..., Any]) -> Callable[..., Any]:
    async def coroutine(**values: Any) -> Any:  # noqa: ANN401
        return function(**values)

    vars(coroutine)["__signature__"] = inspect.signature(function)
    return coroutine


class Session(SessionState):
    """A visitor's inputs, without what was shown.

    Gradio also keeps the whole configuration of the page for each session, with everything shown,
    for links to a visitor's view. That route is closed here, and the copy took 20 ms per session.
    """

    def __init__(self, blocks: gr.Blocks) -> None:
        """Begin with the page as everybody first sees it."""
        self.blocks_config = copy(blocks.default_config)
        self.config_values = {}
        self.state_data = {}
        self._state_ttl = {}
        self.is_closed = False
        self.STATE_TTL_WHEN_CLOSED = 3600  # seconds

    def __setitem__(self, key: int, value: Any) -> None:  # noqa: ANN401 -- as Gradio does
        """Keep an input, without the description of its component that Gradio would make each time.

        That was a fifth of the work of the server's event loop.
        """
        block = self.blocks_config.blocks.get(key)
        if isinstance(block, gr.State):
            self._state_ttl[key] = block.time_to_live, datetime.now()
            self.state_data[key] = value
        else:
            self.blocks_config.blocks[key] = value

    def _update_config(self, key: int) -> None:
        pass

    def _update_value_in_config(self, key: int, value: object) -> None:
        pass


def _refuse_odd_values(blocks: gr.Blocks) -> None:
    """Answer with a sentence, not an internal error, if Gradio cannot parse what was sent."""
    take_apart = blocks.preprocess_data

    async def preprocess_data(block_fn: Any, *values: Any, **options: Any) -> Any:  # noqa: ANN401
        public = block_fn.api_visibility == "public"
        try:
            taken = await take_apart(block_fn, *values, **options)
        except gr.Error as error:
            if public:
                error.print_exception = False
                raise
            raise gr.Error(ODD_EVENT, print_exception=False) from None
        except Exception:
            raise gr.Error(ODD_VALUES if public else ODD_EVENT, print_exception=False) from None
        if not public and not all(map(_is_a_choice, block_fn.inputs, taken)):
            raise gr.Error(ODD_EVENT, print_exception=False)
        return taken

    vars(blocks)["preprocess_data"] = preprocess_data


def _is_a_choice(component: Any, value: object) -> bool:  # noqa: ANN401
    """Whether a value fits a component with one choice; Gradio also accepts lists and None."""
    chooses = isinstance(component, gr.Radio | gr.Dropdown)
    if not chooses or getattr(component, "multiselect", False) or component.value is None:
        return True
    return isinstance(value, str | int | float)


def _tell_how_to_send_files() -> None:
    """Let the schemas of MCP's tools explain how to send a file, which Gradio's do not."""
    simplify = GradioMCPServer.simplify_filedata_schema

    def simplified(
        self: GradioMCPServer, schema: dict[str, Any]
    ) -> tuple[dict[str, Any], list[list[str | int]]]:
        found, places = simplify(self, schema)
        for place in places:
            found["properties"][place[0]]["format"] = "data-url"
        return found, places

    vars_of_class: Any = GradioMCPServer
    vars_of_class.simplify_filedata_schema = simplified
    vars_of_class._file_data_tool_description = property(lambda self: SEND_FILES)


class Queue(queueing.Queue):
    """Gradio's queue, governed by `Rules`."""

    def __init__(self, blocks: gr.Blocks, rules: Rules, max_waiting: int, workers: int) -> None:
        """Replace a page's queue; each function gets at most `workers`."""
        super().__init__(
            live_updates=False,
            concurrency_count=blocks.max_threads,
            update_intervals=STATUS_INTERVAL,
            max_size=max_waiting,
            blocks=blocks,
            default_concurrency_limit=workers,
        )
        self._rules = rules
        self._answers: dict[str, Answer] = {}
        # By default the queue is checked a thousand times a second.
        self.sleep_when_free = POLL_INTERVAL
        self.progress_update_sleep_when_free = 10 * POLL_INTERVAL
        # The rules decide which sessions are kept, not who came last.
        self.pending_messages_per_session.max_size = sys.maxsize
        blocks.state_session_capacity = sys.maxsize
        state_holder.SessionState = Session  # type: ignore[misc]
        blocks.api_open = False
        blocks._queue = self
        _refuse_odd_values(blocks)

    async def push(
        self, body: PredictBodyInternal, request: fastapi.Request, username: str | None
    ) -> tuple[bool, Any, Any]:
        """Admit an event."""
        if body.fn_index not in self.blocks.fns:
            # Gradio would raise an error, which would be logged as a fault of the app.
            raise fastapi.HTTPException(404, "There is no such function.")
        if not _has_its_event(self.blocks.fns[body.fn_index], body.event_data):
            raise fastapi.HTTPException(422, "This event lacks its data.")
        with self._rules.place(request.scope[CLIENT], body.session_hash):
            if self.blocks.fns[body.fn_index].api_visibility == "public":
                # As files, so that waiting events take no memory.
                body.data = await run_in_threadpool(data_urls.as_files, body.data, upload_folder())
            result = await super().push(body, request, username)
        if event := self.event_ids_to_events.get(str(result[1])):
            self._answer(event)
            setattr(request.state, SESSION, event.session_hash)
        return result

    def _answer(self, event: queueing.Event) -> Answer:
        answer = self._answers.get(event._id)
        if answer is None:
            scope = event.request.scope
            name = event.fn.api_name or getattr(event.fn.fn, "__name__", "none")
            answer = Answer(
                event._id,
                scope[CLIENT],
                event.session_hash,
                str(name),
                str(event.concurrency_id),
                scope,
                event.enqueue_time,
                frozenset(_paths(event.data.data if event.data else ())),
            )
            self._answers[event._id] = answer
            self._rules.entered(answer)
        return answer

    @property
    def pending(self) -> list[Answer]:
        """All answers that wait or are being computed."""
        return [self._answer(event) for event in list(self.event_ids_to_events.values())]

    @property
    def waiting(self) -> list[Answer]:
        """All answers that wait."""
        queues = list(self.event_queue_per_concurrency_id.values())
        return [self._answer(event) for queue in queues for event in list(queue.queue)]

    @property
    def computed(self) -> int:
        """How many answers are being computed; any thread may ask."""
        return sum(map(bool, self.active_jobs))

    @property
    def running(self) -> list[Answer]:
        """All answers that are being computed."""
        return [
            self._answer(event) for events in list(self.active_jobs) if events for event in events
        ]

    def get_events(self) -> tuple[list[queueing.Event], bool, str] | None:
        """Take the event that is next."""
        events = {
            event._id: (queue, event)
            for queue in self.event_queue_per_concurrency_id.values()
            if queue.concurrency_limit is None
            or queue.current_concurrency < queue.concurrency_limit
            for event in queue.queue
        }
        if not events:  # the usual case: this runs two hundred times a second
            return None
        waiting = [self._answer(event) for _, event in events.values()]
        chosen = self._rules.choose(waiting, self.running)
        if chosen is None:
            return None
        queue, event = events[chosen.id]
        queue.queue.remove(event)
        return [event], False, queue.concurrency_id

    def send_message(self, event: queueing.Event, event_message: EventMessage) -> None:
        """Send a message to its client, and inform the rules."""
        if isinstance(event_message, ProcessStartsMessage):
            self._rules.started(self._answer(event))
        elif isinstance(event_message, ProcessCompletedMessage):
            self._end(event, event_message)
        elif isinstance(event_message, ProcessGeneratingMessage):
            files = set(_paths((event_message.output or {}).get("data")))
            self._rules.progressed(self._answer(event), files)
        super().send_message(event, event_message)

    def _end(self, event: queueing.Event, message: ProcessCompletedMessage) -> None:
        outcome: Outcome = "answered"
        if not event.alive:
            outcome = "left"
        elif not message.success:
            # An error meant for the visitor has its own sentence; others are bugs, or a full disk.
            outcome = "refused" if message.output.get("error") else "failed"
            if message.output.get("error") == ODD_EVENT:
                outcome = "odd"
        files = set(_paths((message.output or {}).get("data")))
        sentence = self._rules.ended(self._answer(event), outcome, files)
        if sentence:
            message.output |= {"error": sentence, "visible": True, "duration": 10}

    def broadcast_estimations(self, concurrency_id: str, after: int | None = None) -> None:
        """Tell the clients that wait for one function their place in the queue and the time.

        With `after`, only the last one is told.
        """
        events = list(self.event_queue_per_concurrency_id[concurrency_id].queue)
        if after is not None:
            events = events[-1:]
        order = self._rules.estimate(self.waiting, self.running)
        places = {answer.id: (place, seconds) for place, (answer, seconds) in enumerate(order)}
        for event in events:
            place, seconds = places[event._id]
            message = EstimationMessage(rank=place, rank_eta=seconds, queue_size=len(order))
            super().send_message(event, message)

    def compute_analytics_summary(self, records: Any) -> dict[str, Any]:  # noqa: ANN401
        """Do nothing: the statistics page that needs it is closed."""
        return {}

    def forget(self, sessions: Iterable[str]) -> None:
        """Forget sessions, with their inputs and the answers that nobody fetched."""
        holder = self.blocks.state_holder
        for session in sessions:
            self.pending_messages_per_session.pop(session, None)
            self.pending_event_ids_session.pop(session, None)
            holder.session_data.pop(session, None)
            holder.time_last_used.pop(session, None)

    def tidy(self) -> set[str]:
        """Forget finished events; return the sessions that are kept."""
        for event in set(self._answers) - set(self.event_ids_to_events):
            self._answers.pop(event, None)
        return set(self.pending_messages_per_session) | set(self.blocks.state_holder.session_data)

    def session_of(self, event: str) -> str | None:
        """The session of an event that is pending, or whose answer nobody fetched yet."""
        if found := self.event_ids_to_events.get(event):
            return found.session_hash
        sessions = list(self.pending_event_ids_session.items())
        return next((session for session, events in sessions if event in events), None)


def ends_stream(message: Message) -> bool:
    """Whether an ASGI message tells the client that its stream of answers has ended."""
    return message.get("body") == _END


def hangs_up(headers: dict[bytes, bytes]) -> bool:
    """Whether a client closes the connection when it has read that its stream has ended.

    Gradio's own do, in JavaScript and in Python; others wait until the server closes it.
    """
    return headers.get(b"accept") == b"text/event-stream" or headers.get(
        b"user-agent", b""
    ).startswith(b"gradio_client/")


def _has_its_event(function: Any, data: object) -> bool:  # noqa: ANN401 -- a BlockFunction
    """Whether an event has the data that its listener needs."""
    if {event for _, event in function.targets} != {"select"}:
        return True
    return isinstance(data, dict) and {"index", "value"} <= data.keys()


def start_node(host: str, python_port: int) -> tuple["Popen[bytes] | None", int]:
    """Start Node, which renders pages with data that it gets from this process.

    Returns
    -------
    Its process, or None if it does not start, and its port on `host`.
    """
    path = os.environ.get("GRADIO_NODE_PATH", get_node_path())
    # Gradio takes the first free port of a few: two apps that start at once would both choose it,
    # and one of them would find the other's Node there.
    with take_port(host, 0) as free:
        number = free.getsockname()[1]
    _, process, port = node_server.start_node_server(
        server_name=host,
        server_port=number,
        node_path=path,
        python_port=python_port,
        python_host=host,
    )
    return process, port or 0


def stop_node(process: "Popen[bytes]") -> None:
    """Stop Node."""
    node_server.stop_node_process(process)


def page_paths(blocks: gr.Blocks) -> set[str]:
    """The paths of the pages and of their layouts, without slashes at the ends."""
    pages = set(blocks.config["page"])
    return pages | {f"{page}/config".strip("/") for page in pages}


def page_scripts() -> Path:
    """The folder of the scripts and styles that Gradio's pages load."""
    return Path(gr.__file__).parent / "templates" / "frontend" / "assets"


def files_of_page(page: str, kinds: Collection[str], assets: Path) -> list[str]:
    """Names of the scripts and styles that a page loads, in the order in which they are used.

    Parameters
    ----------
    page
        Its HTML.
    kinds
        The kinds of components on it.
    assets
        The folder of its scripts.

    Returns
    -------
    The names; none if Gradio's scripts are built differently from those that are known here.
    """
    main = _MAIN_SCRIPT.search(page)
    if main is None:
        return []
    try:
        return list(dict.fromkeys(_needed(main[1], kinds, assets)))
    except (OSError, IndexError):
        return []


def _needed(main: str, kinds: Collection[str], assets: Path) -> Iterator[str]:
    """The files of a page, some of them several times."""
    yield main
    core = ""
    for name, needs in _imports(assets / main):
        yield name
        yield from needs
        if name.startswith("core-"):
            core = name
        for inner, more in _imports(assets / name):
            if inner.startswith("Blocks-"):
                yield inner
                yield from more
    if core:
        yield from _components(assets / core, kinds)


def _imports(script: Path) -> Iterator[tuple[str, list[str]]]:
    text = script.read_text()
    files = _numbered_files(text)
    for found in _IMPORT.finditer(text):
        yield found["name"], [files[int(number)] for number in found["needs"].split(",") if number]


def _components(script: Path, kinds: Collection[str]) -> Iterator[str]:
    text = script.read_text()
    files = _numbered_files(text)
    kind = ""
    for found in _KIND.finditer(text):
        if found["kind"]:
            kind = found["kind"]
        elif kind in kinds:
            yield found["name"]
            yield from (files[int(number)] for number in found["needs"].split(",") if number)


def _numbered_files(text: str) -> list[str]:
    """The files that a script knows by numbers."""
    found = _FILES.search(text)
    return re.findall(r'"\./([^"]+)"', found[1]) if found else []


def component_kinds(blocks: gr.Blocks, page: str) -> set[str]:
    """The kinds of components that a browser loads with a page: those that it shows."""
    held = set(blocks.config["page"][page]["components"])
    return {
        component["type"]
        for component in blocks.config["components"]
        if component["id"] in held and component["props"].get("visible") is not False
    }


def _send_no_descriptions(blocks: gr.Blocks) -> None:
    """Leave out of the page what describes its components to programs: a third of its size.

    Gradio reads the descriptions of those that endpoints for programs have, which stay.
    """
    described = {
        component._id
        for function in blocks.fns.values()
        if function.api_visibility != "private"
        for component in (*function.inputs, *function.outputs)
    }
    for component in blocks.config["components"]:
        if component["id"] not in described:
            for key in ("api_info", "api_info_as_input", "api_info_as_output", "example_inputs"):
                component.pop(key, None)


def mounted(app: FastAPI, blocks: gr.Blocks, url: str, token: str, mcp_bytes: int) -> None:
    """Set what Gradio would set if it started the server itself.

    Parameters
    ----------
    app
        The app in which the page was mounted.
    blocks
        The page.
    url
        The address at which this process reaches itself.
    token
        The secret by which the guard recognises the calls that MCP makes for its clients.
    mcp_bytes
        Largest request to MCP.
    """
    gradio_app = app.routes[-1].app  # type: ignore[attr-defined]
    blocks.app = blocks.server_app = gradio_app
    blocks._queue.set_server_app(gradio_app)
    blocks.local_url = url  # type: ignore[assignment]  # declared as None
    blocks.has_launched = True  # otherwise it reads any file that an event names
    _check_that_paths_are_checked(blocks)
    _send_no_descriptions(blocks)
    if not hasattr(blocks, "temp_file_sets") or not hasattr(blocks, "keep_in_cache"):
        raise Unexpected("gradio.blocks:Blocks")
    mcp = blocks.mcp_server_obj
    if mcp is None or not hasattr(mcp, "_local_url") or not hasattr(mcp, "_client_instance"):
        raise Unexpected("gradio.mcp:GradioMCPServer")
    mcp._local_url = url  # else it would ask the host that a request names
    # If this limit cannot be set, MCP takes only smaller photos than the page.
    if hasattr(getattr(mcp.manager, "asgi_app", None), "max_body_size"):
        mcp.manager.asgi_app.max_body_size = mcp_bytes
    get_client = mcp._get_or_create_client

    def get_marked_client() -> Any:  # noqa: ANN401 -- gradio_client's
        client = get_client()
        client.headers[INTERNAL.decode()] = token
        return client

    mcp._get_or_create_client = get_marked_client  # type: ignore[method-assign]


def _check_that_paths_are_checked(blocks: gr.Blocks) -> None:
    """Try what a visitor must not be able to do: name a file that was not uploaded.

    Raises
    ------
    Unexpected
        If it would be read.
    """
    token = LocalContext.blocks.set(blocks)
    try:
        processing_utils._check_allowed(__file__, check_in_upload_folder=True)
    except gr.exceptions.InvalidPathError:
        return
    finally:
        LocalContext.blocks.reset(token)
    raise Unexpected("gradio.processing_utils:_check_allowed")


class _Form(GradioMultiPartParser):
    """Gradio's parser of uploads; it alone would leave files of interrupted ones on the disk."""

    async def parse(self) -> FormData:
        """Read a form."""
        try:
            return await super().parse()
        except BaseException:
            for file in self._files_to_close_on_error:
                file.close()
                Path(file.name).unlink(missing_ok=True)
            raise


def end_heartbeats(blocks: gr.Blocks) -> None:
    """Let go of the pages that are open: the server would wait for them before it ends."""
    stop = getattr(blocks.app, "stop_event", None)
    if isinstance(stop, asyncio.Event):
        loop = blocks.server.servers[0].get_loop()  # see `served_by`
        loop.call_soon_threadsafe(stop.set)


def served_by(blocks: gr.Blocks, server: uvicorn.Server) -> None:
    """Record the server: `spaces` closes the connections to its port in processes that it forks."""
    blocks.server = server  # type: ignore[assignment]  # Gradio's own class of the same


def shared(blocks: gr.Blocks, address: str) -> None:
    """Record that the page has a public link: search engines are asked to stay away."""
    blocks.share = True
    blocks.share_url = address  # type: ignore[assignment]


def open_tunnel(host: str, port: int) -> str:
    """Open a public link to this machine through gradio.live; return its address.

    Raises
    ------
    Exception
        Of many kinds, if it cannot be opened.
    """
    return networking.setup_tunnel(host, port, secrets.token_urlsafe(32), None, None)
