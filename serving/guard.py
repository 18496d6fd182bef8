"""The first to see each request: lets it in, or refuses it in one sentence."""

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

from serving import clients, doors, health, journal, metrics
from serving.doors import Door
from serving.files import Store
from serving.queueing import CLIENT, EACH, Desk
from serving.sentences import Say

Scope: TypeAlias = MutableMapping[str, Any]
Message: TypeAlias = MutableMapping[str, Any]
Receive: TypeAlias = Callable[[], Awaitable[Message]]
Send: TypeAlias = Callable[[Message], Awaitable[None]]
App: TypeAlias = Callable[[Scope, Receive, Send], Awaitable[None]]

BODY_TIME = 15.0  # seconds that any body may take
BODY_RATE = 16_000  # bytes a second that a larger one must come with
LINGER = 2.0  # seconds that a refused client may go on sending, so that it sees the answer
OPEN_EACH = 100  # requests of one client that are answered at a time; a page has two or three
SEEN_EACH = (2_000, 100)  # requests of any kind: at once, and a second; a page loads some 150 files
BURST = 200  # costing requests at once; a new photo on the page makes some 15
BYTES_EACH = (1_500_000_000, 1_500_000)  # uploads: at once, and a second


@dataclass(frozen=True)
class Limits:
    """What the one who serves the page decides.

    Attributes
    ----------
    photo_bytes
        Size of the largest photo.
    places
        How many answers may wait.
    per_minute
        How often one client may ask for an answer or upload, in the long run.
    kept
        How many seconds uploads and results stay after their last use.
    behind_proxy
        Whether all visitors come through a proxy that says in `X-Forwarded-For` who they are.
    """

    photo_bytes: int
    places: int = 100
    per_minute: int = 600
    kept: float = 600
    behind_proxy: bool = False


@dataclass
class Refused(Exception):  # noqa: N818 -- it is the visitor who is refused
    """A request that is not let in: a reason of `sentences`, and values for its places."""

    status: int
    reason: str
    retry_after: float = 0
    values: dict[str, str | int] = field(default_factory=dict)


_BROKEN = Refused(500, "fault")


class Guard:
    """ASGI middleware around the whole app."""

    def __init__(
        self, app: App, desk: Desk, store: Store, limits: Limits, open_limit: int, say: Say
    ) -> None:
        """Guard an app; at most `open_limit` of its requests are answered at a time."""
        self._app = app
        self._say = say
        self._desk = desk
        self._store = store
        self._limits = limits
        self._open_limit = open_limit
        self._open: Counter[str] = Counter()
        self._seen = clients.Buckets(*SEEN_EACH)
        self._asked = clients.Buckets(BURST, limits.per_minute / 60)
        self._sent = clients.Buckets(*BYTES_EACH)

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
        door = doors.find(scope["method"], scope["path"])
        body = _Body(receive, doors.body_limit(door, self._limits.photo_bytes) if door else 0)
        answer = _Answer(send, door, body)
        self._open[client] += 1
        refused = None
        try:
            with ExitStack() as stack:
                self._admit(scope, headers, client, door, stack)
                if door and door.name in ("healthz", "metrics"):
                    await self._tell(door, headers, peer, answer)
                else:
                    await self._app(scope, body.receive, answer.send)
        except Refused as error:
            refused = error
        except Exception as error:
            # Here end too a client that went away in the middle of its body, and a stream whose
            # session is not known (any more), which Gradio finds when it has begun.
            if not (body.refused or body.left or isinstance(error.__cause__, HTTPException)):
                journal.fault()
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
                sentence = self._say(scope, refused.reason, refused.values)
                await _refuse(refused, sentence, door, headers, answer, body)
        name = door.name if door else "none"
        metrics.count("petscope_requests_total", door=name, status=str(answer.status or "left"))
        journal.write(
            "request",
            id=secrets.token_hex(4),
            client=journal.pseudonym(client),
            door=name,
            method=scope["method"] if door else "none",
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
        door: Door | None,
        stack: ExitStack,
    ) -> None:
        """Refuse what is too much; keep room on the disk for an upload until the stack closes."""
        if sum(len(name) + len(value) for name, value in scope["headers"]) > doors.HEADERS_LIMIT:
            raise Refused(431, "headers")
        if door is None:
            raise Refused(404, "no_door")
        # What the app asks itself (MCP's calls, the page's first look) comes past the proxy.
        own = self._limits.behind_proxy and b"x-forwarded-for" not in headers and _is_local(client)
        if not own:
            self._admit_client(client, door)
        size = _content_length(headers)
        limit = doors.body_limit(door, self._limits.photo_bytes)
        if size is not None and size > limit:
            raise _too_large(limit)
        if door.cost and self._desk.closing:
            raise Refused(503, "closing", 10)
        if door.name in ("join", "call", "mcp") and door.cost:
            self._admit_to_queue(client, own)
        if door.body == "upload":
            wait = 0 if own else self._sent.take(client, size or limit)
            if wait:
                raise Refused(429, "bytes", wait, {"seconds": round(wait)})
            # Without a length it is taken for a single photo, until it has become more.
            expected = self._limits.photo_bytes if size is None else size
            if not stack.enter_context(self._store.reserved(expected)):
                raise Refused(507, "disk", 60)

    def _admit_client(self, client: str, door: Door) -> None:
        if self._open.total() > self._open_limit or self._open[client] > OPEN_EACH:
            raise Refused(503, "open", 30)
        wait = self._seen.take(client)
        if door.cost:
            wait = wait or self._asked.take(client, door.cost)
        if wait:
            values = {"seconds": int(wait) + 1, "limit": self._limits.per_minute}
            raise Refused(429, "rate", wait, values)

    def _admit_to_queue(self, client: str, own: bool) -> None:
        waiting = self._desk.waiting
        if waiting >= self._desk.places:
            seconds = self._desk.seconds_left(waiting)
            raise Refused(503, "queue", seconds, {"place": waiting + 1, "seconds": seconds})
        if not own and (mine := self._desk.waiting_for(client)) >= EACH:
            raise Refused(429, "waiting", self._desk.seconds_left(mine), {"answers": mine})

    async def _tell(
        self, door: Door, headers: dict[bytes, bytes], peer: str | None, answer: "_Answer"
    ) -> None:
        if door.name == "metrics":
            if b"x-forwarded-for" in headers or not _is_private(peer):
                raise Refused(404, "no_door")
            gauges = {
                "petscope_queue_length": self._desk.length,
                "petscope_stored_bytes": self._store.size,
            }
            text, kind = metrics.expose(gauges), b"text/plain; version=0.0.4"
            await answer.complete(200, text.encode(), kind)
            return
        models = await asyncio.to_thread(health.models)
        ready = not self._desk.closing
        facts = {
            "alive": True,
            "ready": ready,
            "device": models[0]["device"],
            "models": models,
            "waiting": self._desk.waiting,
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

    def __init__(self, send: Send, door: Door | None, body: _Body) -> None:
        self._send = send
        self._door = door
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
            added = doors.security_headers(self._door)
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
    door: Door | None,
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
    if door and b"sec-fetch-mode" in headers:  # sent by browsers: it is the page that asks
        if door.name == "upload":
            # It shows the answer to a failed upload as it stands.
            content, kind = sentence.encode(), b"text/plain; charset=utf-8"
        elif door.name == "join" and status == 503:
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
