"""A response on its way to the client: with security headers, and counted."""

import json
from collections.abc import Awaitable, Callable
from contextlib import suppress

from starlette.types import Message, Send

from serving import routes
from serving.messages import Refused
from serving.request_body import Body
from serving.routes import Route

# Headers allowed in a response with a file: for range requests, Gradio copies the request's headers
# into it.
FILE_HEADERS = {
    b"accept-ranges",
    b"access-control-allow-origin",
    b"content-disposition",
    b"content-encoding",
    b"content-length",
    b"content-range",
    b"content-type",
    b"etag",
    b"last-modified",
    b"vary",
}


class Response:
    """What the app answers to a request; adds the security headers and counts bytes.

    Attributes
    ----------
    status
        The HTTP status that was sent; 0 before.
    size
        Bytes of the content that were sent.
    broken
        Whether the app's own response is withheld.
    """

    def __init__(self, send: Send, route: Route | None, body: Body) -> None:
        """Respond to a request for a route, with this body."""
        self._send = send
        self._route = route
        self._body = body
        self._ended = False
        self.broken = False
        self.status = 0
        self.size = 0

    async def send(self, message: Message) -> None:
        """Pass a message on, unless the response only reports an internal error.

        The same applies to the app's response to a body that was cut short.
        """
        if message["type"] == "http.response.start":
            self.broken = message["status"] == 500 or self._body.refused is not None
        if not self.broken:
            await self._pass_on(message)

    async def _pass_on(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.status = message["status"]
            added = routes.security_headers(self._route)
            # There are no logins, so no other site needs to send a visitor's cookies.
            replaced = {name for name, _ in added} | {b"access-control-allow-credentials"}
            kept = [pair for pair in message.get("headers", ()) if pair[0].lower() not in replaced]
            if self._route and self._route.name == "file":
                kept = [pair for pair in kept if pair[0].lower() in FILE_HEADERS]
            message = {**message, "headers": [*kept, *added]}
        else:
            self.size += len(message.get("body", b""))
            self._ended = not message.get("more_body", False)
        await self._send(message)

    async def end(self) -> None:
        """End a response that was interrupted."""
        if self.status and not self._ended:
            with suppress(Exception):  # the announced length was not reached
                await self._pass_on({"type": "http.response.body", "body": b""})

    async def complete(
        self,
        status: int,
        content: bytes,
        kind: bytes = b"application/json",
        headers: tuple[tuple[bytes, bytes], ...] = (),
        before_end: Callable[[], Awaitable[None]] | None = None,
    ) -> None:
        """Send a whole response."""
        length = str(len(content)).encode()
        every = [(b"content-type", kind), (b"content-length", length), *headers]
        await self._pass_on({"type": "http.response.start", "status": status, "headers": every})
        await self._pass_on({"type": "http.response.body", "body": content, "more_body": True})
        if before_end:
            await before_end()
        await self._pass_on({"type": "http.response.body", "body": b""})


async def refuse(
    refused: Refused,
    sentence: str,
    route: Route | None,
    headers: dict[bytes, bytes],
    response: Response,
    body: Body,
) -> None:
    """Respond to a refused request with its sentence."""
    more = [(b"cache-control", b"no-store")]
    if refused.retry_after:
        more.append((b"retry-after", str(int(refused.retry_after) + 1).encode()))
    unread = b"content-length" in headers or b"transfer-encoding" in headers
    if unread:
        more.append((b"connection", b"close"))
    content, kind = json.dumps({"detail": sentence}).encode(), b"application/json"
    status = refused.status
    if route and b"sec-fetch-mode" in headers:  # browsers send it, so the page is asking
        if route.name == "upload":
            # The page shows the answer to a failed upload unchanged.
            content, kind = sentence.encode(), b"text/plain; charset=utf-8"
        elif route.name == "join" and status == 503:
            # For this status it shows Gradio's own text, for others that of the answer.
            status = 429
    end = body.discard if unread else None
    await response.complete(status, content, kind, tuple(more), end)
