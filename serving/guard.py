"""ASGI middleware that sees each request first, and admits it or refuses it with one sentence."""

import asyncio
import ipaddress
import json
import secrets
import time
import traceback
from collections import Counter
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Receive, Scope, Send

from serving import clients, health, log, metrics, routes
from serving.files import Reservation, Store, touch
from serving.internals import CLIENT, FOR_CLIENT, INTERNAL, hangs_up
from serving.messages import Refused, Translate
from serving.queueing import AnswerQueue
from serving.request_body import Body, too_large
from serving.response import Response, refuse
from serving.routes import Route
from serving.settings import Settings
from serving.uploads import BadForm, OpenFiles, UploadForm

MAX_OPEN = 100  # simultaneous requests of one client; a page has two or three
REQUEST_RATE = (2_000, 100)  # requests of any kind: burst, and per second; a page loads 150 files
BURST = 200  # burst of expensive requests; a new photo on the page makes some 15
UPLOAD_RATE = (1_500_000_000, 1_500_000)  # uploads: burst of bytes, and bytes per second
HOSTS = (b"host", b"x-forwarded-host", b"origin", b"referer")  # headers with a host or a URL
NODE_SERVER = b"x-gradio-server"  # header in which only Node may say where the page is
GUARD_PROBE = "/gradio_api/user"  # a route that Gradio has and the guard closes
# Folders of the app's own code that answers requests.
OURS = {Path(__file__).parents[1] / name for name in ("serving", "ui", "ui/texts", "models")}

_BROKEN = Refused(500, "fault")


@dataclass(frozen=True)
class Caller:
    """Who makes a request.

    Attributes
    ----------
    client
        To whom limits apply.
    internal
        Whether the app itself makes it, on behalf of a request that has been counted.
    """

    client: str
    internal: bool = False


class Guard:
    """ASGI middleware around the whole app.

    Attributes
    ----------
    queue, store
        The page's.
    probes
        How often `GUARD_PROBE` was requested.
    """

    def __init__(
        self,
        app: ASGIApp,
        queue: AnswerQueue,
        store: Store,
        settings: Settings,
        open_limit: int,
        translate: Translate,
        token: str,
    ) -> None:
        """Guard an app.

        Parameters
        ----------
        app
            The app that answers admitted requests.
        queue, store
            The page's.
        settings
            The limits.
        open_limit
            How many requests may be open at a time.
        translate
            Gives the server's sentences in a visitor's language.
        token
            A secret that the app's own requests carry.
        """
        self.queue, self.store = queue, store
        self.probes = 0
        self._app = app
        self._settings = settings
        self._open_limit = open_limit
        self._translate = translate
        self._token = token.encode()
        self._open: Counter[str] = Counter()
        self._open_files = OpenFiles(open_limit // 2)
        self._seen = clients.TokenBuckets(*REQUEST_RATE)
        self._asked = clients.TokenBuckets(BURST, settings.per_minute / 60)
        self._sent = clients.TokenBuckets(*UPLOAD_RATE)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request."""
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
        elif scope["type"] == "http":
            await self._answer(scope, receive, send)

    async def _answer(self, scope: Scope, receive: Receive, send: Send) -> None:
        start = time.perf_counter()
        self.probes += scope["path"] == GUARD_PROBE
        caller = self._caller(scope)
        client = scope[CLIENT] = caller.client
        headers = dict(reversed(scope["headers"]))  # the first of several, as in Starlette
        route = routes.find(scope["method"], scope["path"])
        body = Body(receive, routes.body_limit(route, self._settings.photo_bytes) if route else 0)
        response = Response(send, route, body)
        self._open[client] += 1
        refused = None
        try:
            with ExitStack() as stack:
                await self._admit(scope, headers, caller, route, body, stack)
                if route and route.name in ("healthz", "metrics"):
                    await self._report(route, scope, response)
                else:
                    send = self._prepare(scope, headers, caller, route, body, response, stack)
                    await self._app(scope, body.receive, send)
        except Refused as error:
            refused = error
        except asyncio.CancelledError:
            if not self.queue.closing:
                raise
            # The server stops, though this client still listens.
            refused = None if response.status else Refused(503, "closing", 10)
            await response.end()
        except Exception as error:
            # This is also reached if a client left in the middle of its body, or if Gradio finds
            # after the stream began that its session is unknown.
            if not (body.refused or body.left or isinstance(error.__cause__, HTTPException)):
                odd = scope["method"] == "POST" and _is_odd(error)
                log.odd() if odd else log.fault()
                refused = Refused(400, "odd") if odd else _BROKEN
            await response.end()
        finally:
            self._open[client] -= 1
            if not self._open[client]:
                del self._open[client]
        refused = body.refused or refused or (_BROKEN if response.broken else None)
        if refused:
            metrics.REFUSED.labels(refused.reason).inc()
            if not response.status:
                sentence = self._translate(scope, refused.reason, refused.values)
                await refuse(refused, sentence, route, headers, response, body)
        name = route.name if route else "none"
        metrics.REQUESTS.labels(name, str(response.status or "left")).inc()
        log.write(
            "request",
            id=secrets.token_hex(4),
            client=log.pseudonym(client),
            route=name,
            method=scope["method"] if route else "none",
            status=response.status,
            refused=refused.reason if refused else None,
            received=body.size,
            sent=response.size,
            ms=round(1000 * (time.perf_counter() - start), 1),
        )

    def _caller(self, scope: Scope) -> Caller:
        """Who makes a request; removes headers that only the app itself may send."""
        own = {INTERNAL: b"", FOR_CLIENT: b""}
        for name, value in scope["headers"]:
            if name in own:
                own[name] = value
        scope["headers"] = [pair for pair in scope["headers"] if pair[0] not in own]
        if not secrets.compare_digest(own[INTERNAL], self._token):
            scope["headers"] = [pair for pair in scope["headers"] if pair[0] != NODE_SERVER]
        peer = scope["client"][0] if scope["client"] else None
        client = clients.address(peer, scope["headers"], self._settings.behind_proxy)
        if not secrets.compare_digest(own[INTERNAL], self._token):
            return Caller(client)
        return Caller(own[FOR_CLIENT].decode("latin-1") or "internal", internal=True)

    def _prepare(
        self,
        scope: Scope,
        headers: dict[bytes, bytes],
        caller: Caller,
        route: Route | None,
        body: Body,
        response: Response,
        stack: ExitStack,
    ) -> Send:
        """Prepare what a request needs for as long as it is being answered.

        Returns
        -------
        The function with which the app answers.
        """
        if route is None:
            return response.send
        if route.name == "mcp":
            # MCP calls the app's own endpoints with the headers of the MCP request.
            scope["headers"].append((FOR_CLIENT, caller.client.encode()))
        elif route.name == "file":
            touch([scope["path"].partition("file=")[2]])
        elif route.name == "join":
            return self.queue.streams.receipt(scope, response.send)
        elif route.stays_open:
            last = scope["path"].rpartition("/")[2]
            query = parse_qs(scope["query_string"].decode("latin-1"))
            session = last if route.name == "heartbeat" else query.get("session_hash", [None])[0]
            event = last if route.name == "answer" and session is None else None
            stack.enter_context(self.queue.streaming(session, event))
            if route.name == "answer" and session and hangs_up(headers):
                streams = self.queue.streams
                return stack.enter_context(streams.opened(session, response.send, body.receive))
        return response.send

    async def _admit(
        self,
        scope: Scope,
        headers: dict[bytes, bytes],
        caller: Caller,
        route: Route | None,
        body: Body,
        stack: ExitStack,
    ) -> None:
        """Refuse what exceeds the limits; reserve space for an upload until the stack closes."""
        if sum(len(name) + len(value) for name, value in scope["headers"]) > routes.HEADERS_LIMIT:
            raise Refused(431, "headers")
        if route is None:
            raise Refused(404, "not_found")
        if not all(_names_a_host(value) for name, value in scope["headers"] if name in HOSTS):
            raise Refused(400, "not_http")
        if not caller.internal:
            self._admit_client(caller.client, route)
        size = _content_length(headers)
        limit = routes.body_limit(route, self._settings.photo_bytes)
        if size is not None and size > limit:
            raise too_large(limit)
        if route.cost and self.queue.closing:
            raise Refused(503, "closing", 10)
        if route.name in ("join", "call", "mcp") and route.cost:
            # Before its body is read; the queue checks this again when the answer enters it.
            self.queue.check_place(caller.client)
        if route.body == "upload":
            await self._admit_upload(headers, caller, size, body, stack)

    def _admit_client(self, client: str, route: Route) -> None:
        if self._open.total() > self._open_limit or self._open[client] > MAX_OPEN:
            raise Refused(503, "open", 30)
        wait = self._seen.take(client)
        if route.cost:
            wait = wait or self._asked.take(client, route.cost)
        if wait:
            values = {"seconds": int(wait) + 1, "limit": self._settings.per_minute}
            raise Refused(429, "rate", wait, values)

    async def _admit_upload(
        self,
        headers: dict[bytes, bytes],
        caller: Caller,
        size: int | None,
        body: Body,
        stack: ExitStack,
    ) -> None:
        """Check an upload's form as it arrives, with an allowance that grows with it."""
        room = stack.enter_context(self.store.reserved())
        try:
            form = UploadForm(
                headers.get(b"content-type", b""),
                self._settings.photo_bytes,
                routes.ALBUM_PHOTOS,
                self._open_files,
                caller.client,
            )
        except BadForm as error:
            raise _bad_form(error) from None
        stack.callback(form.close)
        allowance = _Allowance(self._sent, caller, room)
        await allowance.grow(size or 0)

        async def read(part: bytes, received: int) -> None:
            try:
                form.read(part)
            except BadForm as error:
                raise _bad_form(error) from None
            await allowance.grow(max(received, form.disk))

        body.read_along = read

    async def _report(self, route: Route, scope: Scope, response: Response) -> None:
        if route.name == "metrics":
            proxied = any(name == b"x-forwarded-for" for name, _ in scope["headers"])
            if proxied or not _is_private(scope["client"][0] if scope["client"] else None):
                raise Refused(404, "not_found")
            gauges = {
                "petscope_queue_length": self.queue.length,
                "petscope_stored_bytes": self.store.size,
            }
            await response.complete(200, metrics.expose(gauges), metrics.CONTENT_TYPE)
            return
        models = await asyncio.to_thread(health.models)
        ready = not self.queue.closing and await asyncio.to_thread(health.can_decode)
        facts = {
            "alive": True,
            "ready": ready,
            "device": models[0]["device"],
            "models": models,
            "waiting": self.queue.waiting,
        }
        await response.complete(200 if ready else 503, json.dumps(facts).encode())


class _Allowance:
    """What an upload has been granted: bytes of its client's bucket, and disk space."""

    def __init__(self, sent: clients.TokenBuckets, caller: Caller, room: Reservation) -> None:
        self._sent, self._caller, self._room = sent, caller, room
        self._paid = 0

    async def grow(self, size: int) -> None:
        """Allow so many bytes altogether.

        Raises
        ------
        Refused
            If that is too many.
        """
        if size <= self._paid and self._paid:
            return
        # An honest client pays for everything at the beginning; others pay in chunks, not for each
        # packet.
        wanted = max(size, self._paid + min(1_000_000, self._paid // 8))
        if not self._caller.internal:
            wait = self._sent.take(self._caller.client, wanted - self._paid)
            if wait:
                raise Refused(429, "bytes", wait, {"seconds": round(wait) + 1})
        self._paid = wanted
        # Nearly always there is space, and then a thread would take longer than the rest.
        if self._room.grow(wanted, make_room=False):
            return
        if not await asyncio.to_thread(self._room.grow, wanted):
            raise Refused(507, "disk", 60)


def _names_a_host(value: bytes) -> bool:
    """Whether a header is a valid host or URL."""
    text = value.decode("latin-1")
    hosts = [text] if "//" in text else [f"//{part.strip()}" for part in text.split(",")]
    try:
        for each in hosts:
            urlsplit(each).port  # noqa: B018 -- raises
    except ValueError:
        return False
    return True


def _is_odd(error: Exception) -> bool:
    """Whether what a request says caused an error: the app's own code had not run yet."""
    if isinstance(error, OSError | RuntimeError | MemoryError | ImportError):
        return False
    frames = [frame.f_code for frame, _ in traceback.walk_tb(error.__traceback__)]
    passed = ("__call__", "_answer")  # frames of the middleware
    return not any(
        Path(code.co_filename).parent in OURS and code.co_name not in passed for code in frames
    )


def _content_length(headers: dict[bytes, bytes]) -> int | None:
    text = headers.get(b"content-length", b"")
    return int(text) if text.isdigit() else None


def _bad_form(error: BadForm) -> Refused:
    return Refused(error.status, error.key, 30 if error.status == 503 else 0, dict(error.values))


def _is_private(peer: str | None) -> bool:
    try:
        return ipaddress.ip_address(peer or "").is_private
    except ValueError:
        return False
