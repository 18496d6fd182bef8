"""ASGI middleware that sees each request first: lets it in, or refuses it with one sentence."""

import asyncio
import ipaddress
import json
import secrets
import time
from collections import Counter
from collections.abc import Awaitable, Callable, MutableMapping
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from typing import Any, TypeAlias

from starlette.exceptions import HTTPException

from serving import clients, health, log, metrics, routes
from serving.files import Store
from serving.messages import Translate
from serving.queueing import CLIENT, MAX_PENDING, AnswerQueue
from serving.routes import Route

Scope: TypeAlias = MutableMapping[str, Any]
Message: TypeAlias = MutableMapping[str, Any]
Receive: TypeAlias = Callable[[], Awaitable[Message]]
Send: TypeAlias = Callable[[Message], Awaitable[None]]
App: TypeAlias = Callable[[Scope, Receive, Send], Awaitable[None]]

BODY_TIME = 15.0  # seconds that any body may take
BODY_RATE = 16_000  # bytes a second that a larger one must come with
LINGER = 2.0  # seconds that a refused client may go on sending, so that it sees the answer
MAX_OPEN = 100  # requests of one client that are answered at a time; a page has two or three
REQUEST_RATE = (
    2_000,
    100,
)  # of any kind: at once, and a second; a page loads 150 files
BURST = 200  # costing requests at once; a new photo on the page makes some 15
UPLOAD_RATE = (1_500_000_000, 1_500_000)  # uploads: at once, and a second


@dataclass(frozen=True)
class Limits:
    """What the one who serves the page decides.

    Attributes
    ----------
    photo_bytes
        Size of the largest photo.
    max_waiting
        How many answers may wait.
    per_minute
        How often one client may ask for an answer or upload, in the long run.
    keep_seconds
        How many seconds uploads and results stay after their last use.
    behind_proxy
        Whether all visitors come through a proxy that says in `X-Forwarded-For` who they are.
    """

    photo_bytes: int
    max_waiting: int = 100
    per_minute: int = 600
    keep_seconds: float = 600
    behind_proxy: bool = False


@dataclass
class Refused(Exception):  # noqa: N818 -- it is the visitor who is refused
    """A request that is not let in: a key of `messages`, and values for its placeholders."""

    status: int
    reason: str
    retry_after: float = 0
    values: dict[str, str | int] = field(default_factory=dict)


_BROKEN = Refused(500, "fault")


class Guard:
    """ASGI middleware around the whole app."""

    def __init__(
        self,
        app: App,
        queue: AnswerQueue,
        store: Store,
        limits: Limits,
        open_limit: int,
        translate: Translate,
    ) -> None:
        """Guard an app; at most `open_limit` of its requests are answered at a time."""
        self._app = app
        self._translate = translate
        self._queue = queue
        self._store = store
        self._limits = limits
        self._open_limit = open_limit
        self._open: Counter[str] = Counter()
        self._seen = clients.TokenBuckets(*REQUEST_RATE)
        self._asked = clients.TokenBuckets(BURST, limits.per_minute / 60)
        self._sent = clients.TokenBuckets(*UPLOAD_RATE)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request."""
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
        elif scope["type"] == "http":
            await self._answer(scope, receive, send)

    async def _answer(self, scope: Scope, receive: Receive, send: Send) -> None:
        start = time.perf_counter()
        headers = dict(scope["headers"])
        peer = scope["client"][0] if scope["client"] else None
        client = clients.address(peer, scope["headers"], self._limits.behind_proxy)
        scope[CLIENT] = client
        route = routes.find(scope["method"], scope["path"])
        body = _Body(receive, routes.body_limit(route, self._limits.photo_bytes) if route else 0)
        answer = _Answer(send, route, body)
        self._open[client] += 1
        refused = None
        try:
            with ExitStack() as stack:
                self._admit(scope, headers, client, route, stack)
                if route and route.name in ("healthz", "metrics"):
                    await self._report(route, headers, peer, answer)
                else:
                    await self._app(scope, body.receive, answer.send)
        except Refused as error:
            refused = error
        except Exception as error:
            # Here end too a client that went away in the middle of its body, and a stream whose
            # session is not known (any more), which Gradio finds when it has begun.
            if not (body.refused or body.left or isinstance(error.__cause__, HTTPException)):
                log.fault()
                refused = _BROKEN
            await answer.end()
        finally:
            self._open[client] -= 1
            if not self._open[client]:
                del self._open[client]
        refused = body.refused or refused or (_BROKEN if answer.broken else None)
        if refused:
            metrics.count("petscope_refused_total", reason=refused.reason)
            if not answer.status:
                sentence = self._translate(scope, refused.reason, refused.values)
                await _refuse(refused, sentence, route, headers, answer, body)
        name = route.name if route else "none"
        metrics.count("petscope_requests_total", route=name, status=str(answer.status or "left"))
        log.write(
            "request",
            id=secrets.token_hex(4),
            client=log.pseudonym(client),
            route=name,
            method=scope["method"] if route else "none",
            status=answer.status,
            refused=refused.reason if refused else None,
            received=body.size,
            sent=answer.size,
            ms=round(1000 * (time.perf_counter() - start), 1),
        )

    def _admit(
        self,
        scope: Scope,
        headers: dict[bytes, bytes],
        client: str,
        route: Route | None,
        stack: ExitStack,
    ) -> None:
        """Refuse what is too much; keep room on the disk for an upload until the stack closes."""
        if sum(len(name) + len(value) for name, value in scope["headers"]) > routes.HEADERS_LIMIT:
            raise Refused(431, "headers")
        if route is None:
            raise Refused(404, "not_found")
        # What the app asks itself (MCP's calls, the page's first look) comes past the proxy.
        own = self._limits.behind_proxy and b"x-forwarded-for" not in headers and _is_local(client)
        if not own:
            self._admit_client(client, route)
        size = _content_length(headers)
        limit = routes.body_limit(route, self._limits.photo_bytes)
        if size is not None and size > limit:
            raise _too_large(limit)
        if route.cost and self._queue.closing:
            raise Refused(503, "closing", 10)
        if route.name in ("join", "call", "mcp") and route.cost:
            self._admit_to_queue(client, own)
        if route.body == "upload":
            wait = 0 if own else self._sent.take(client, size or limit)
            if wait:
                raise Refused(429, "bytes", wait, {"seconds": round(wait)})
            # Without a length it is taken for a single photo, until it has become more.
            expected = self._limits.photo_bytes if size is None else size
            if not stack.enter_context(self._store.reserved(expected)):
                raise Refused(507, "disk", 60)

    def _admit_client(self, client: str, route: Route) -> None:
        if self._open.total() > self._open_limit or self._open[client] > MAX_OPEN:
            raise Refused(503, "open", 30)
        wait = self._seen.take(client)
        if route.cost:
            wait = wait or self._asked.take(client, route.cost)
        if wait:
            values = {"seconds": int(wait) + 1, "limit": self._limits.per_minute}
            raise Refused(429, "rate", wait, values)

    def _admit_to_queue(self, client: str, own: bool) -> None:
        waiting = self._queue.waiting
        if waiting >= self._queue.max_waiting:
            seconds = self._queue.seconds_left(waiting)
            raise Refused(503, "queue", seconds, {"place": waiting + 1, "seconds": seconds})
        if not own and (mine := self._queue.waiting_for(client)) >= MAX_PENDING:
            raise Refused(429, "waiting", self._queue.seconds_left(mine), {"answers": mine})

    async def _report(
        self, route: Route, headers: dict[bytes, bytes], peer: str | None, answer: "_Answer"
    ) -> None:
        if route.name == "metrics":
            if b"x-forwarded-for" in headers or not _is_private(peer):
                raise Refused(404, "not_found")
            gauges = {
                "petscope_queue_length": self._queue.length,
                "petscope_stored_bytes": self._store.size,
            }
            text, kind = metrics.expose(gauges), b"text/plain; version=0.0.4"
            await answer.complete(200, text.encode(), kind)
            return
        models = await asyncio.to_thread(health.models)
        ready = not self._queue.closing
        facts = {
            "alive": True,
            "ready": ready,
            "device": models[0]["device"],
            "models": models,
            "waiting": self._queue.waiting,
        }
        await answer.complete(200 if ready else 503, json.dumps(facts).encode())


class _Body:
    """A request's body while it comes: not too large, not too slow."""

    def __init__(self, receive: Receive, limit: int) -> None:
        self._receive = receive
        self._limit = limit
        self._start = time.monotonic()
        self._whole = False
        self.size = 0
        self.left = False
        self.refused: Refused | None = None

    async def receive(self) -> Message:
        """The next part; the client seems to have left when it is refused."""
        if self._whole:
            return await self._receive()
        if self.refused:
            return {"type": "http.disconnect"}
        left = self._start + BODY_TIME + self.size / BODY_RATE - time.monotonic()
        try:
            async with asyncio.timeout(left):
                message = await self._receive()
        except TimeoutError:
            self.refused = Refused(408, "slow_body")
            return {"type": "http.disconnect"}
        if message["type"] == "http.disconnect":
            self.left = True
            return message
        self.size += len(message.get("body", b""))
        self._whole = not message.get("more_body", False)
        if self.size > self._limit:
            self.refused = _too_large(self._limit)
            return {"type": "http.disconnect"}
        return message

    async def discard(self) -> None:
        """Read on without keeping anything, for a moment."""
        try:
            async with asyncio.timeout(LINGER):
                while not (self._whole or self.left):
                    message = await self._receive()
                    self.left = message["type"] == "http.disconnect"
                    self._whole = not message.get("more_body", False)
        except TimeoutError:
            pass


class _Answer:
    """The way back: adds the security headers, counts bytes."""

    def __init__(self, send: Send, route: Route | None, body: _Body) -> None:
        self._send = send
        self._route = route
        self._body = body
        self._ended = False
        self.broken = False
        self.status = 0
        self.size = 0

    async def send(self, message: Message) -> None:
        """Send a part on, but for an answer that only says that there was an error inside.

        What the app makes of a body that was cut short is one, too.
        """
        if message["type"] == "http.response.start":
            self.broken = message["status"] == 500 or self._body.refused is not None
        if not self.broken:
            await self._pass_on(message)

    async def _pass_on(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.status = message["status"]
            added = routes.security_headers(self._route)
            # There are no logins, so no other site's page needs to send a visitor's cookies.
            replaced = {name for name, _ in added} | {b"access-control-allow-credentials"}
            kept = [pair for pair in message.get("headers", ()) if pair[0].lower() not in replaced]
            message = {**message, "headers": [*kept, *added]}
        else:
            self.size += len(message.get("body", b""))
            self._ended = not message.get("more_body", False)
        await self._send(message)

    async def end(self) -> None:
        """End an answer that broke off."""
        if self.status and not self._ended:
            with suppress(Exception):  # a promised length was not reached
                await self._pass_on({"type": "http.response.body", "body": b""})

    async def complete(
        self,
        status: int,
        content: bytes,
        kind: bytes = b"application/json",
        headers: tuple[tuple[bytes, bytes], ...] = (),
        before_end: Callable[[], Awaitable[None]] | None = None,
    ) -> None:
        """Send a whole answer."""
        length = str(len(content)).encode()
        every = [(b"content-type", kind), (b"content-length", length), *headers]
        await self._pass_on({"type": "http.response.start", "status": status, "headers": every})
        await self._pass_on({"type": "http.response.body", "body": content, "more_body": True})
        if before_end:
            await before_end()
        await self._pass_on({"type": "http.response.body", "body": b""})


async def _refuse(
    refused: Refused,
    sentence: str,
    route: Route | None,
    headers: dict[bytes, bytes],
    answer: _Answer,
    body: _Body,
) -> None:
    more = [(b"cache-control", b"no-store")]
    if refused.retry_after:
        more.append((b"retry-after", str(int(refused.retry_after) + 1).encode()))
    unread = b"content-length" in headers or b"transfer-encoding" in headers
    if unread:
        more.append((b"connection", b"close"))
    content, kind = json.dumps({"detail": sentence}).encode(), b"application/json"
    status = refused.status
    if route and b"sec-fetch-mode" in headers:  # sent by browsers: it is the page that asks
        if route.name == "upload":
            # It shows the answer to a failed upload as it stands.
            content, kind = sentence.encode(), b"text/plain; charset=utf-8"
        elif route.name == "join" and status == 503:
            # At this one it shows words of Gradio's, at others the answer's own.
            status = 429
    end = body.discard if unread else None
    await answer.complete(status, content, kind, tuple(more), end)


def _content_length(headers: dict[bytes, bytes]) -> int | None:
    text = headers.get(b"content-length", b"")
    return int(text) if text.isdigit() else None


def _too_large(limit: int) -> Refused:
    size = f"{limit / 1e6:.0f} MB" if limit >= 1_000_000 else f"{limit / 1000:.0f} kB"
    return Refused(413, "size", values={"size": size})


def _is_private(peer: str | None) -> bool:
    try:
        return ipaddress.ip_address(peer or "").is_private
    except ValueError:
        return False


def _is_local(client: str) -> bool:
    return client == "::" or client.startswith("127.")
