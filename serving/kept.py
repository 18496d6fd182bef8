"""Pages, scripts and styles, which are the same for all visitors, kept in memory.

Gradio writes the page anew for each visitor, and reads and compresses each of the hundred files
that it loads: 0.2 s of the processor's time for each visit, of which less than half is left.
The page itself was not compressed.
"""

import gzip
import re
from collections import OrderedDict
from collections.abc import Callable, Collection
from dataclasses import dataclass
from typing import NamedTuple

import brotli
from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

LIMIT = 16_000_000  # bytes of all that is kept
LEAST = 400  # bytes worth compressing
QUALITY = {"br": 6, "gzip": 6}
FILES = re.compile(r"/(assets|static|svelte|_app/immutable)/.+|/theme\.css")
# Their names, or versions, change with their contents.
FOR_EVER = re.compile(r"/(assets|_app/immutable)/.+-[\w-]{6,}\.\w+|/theme\.css\?v=\w+")
TEXT = re.compile(r"text/|application/(javascript|json)|image/svg")
# Headers of a request on which pages depend: the language, and the address that they are told.
DEPENDS = (
    "accept-language",
    "host",
    "x-forwarded-host",
    "x-forwarded-proto",
    "x-gradio-server",
)

Key = tuple[str, ...]


class Body(NamedTuple):
    """An answer that is kept."""

    headers: list[tuple[bytes, bytes]]
    content: bytes


@dataclass
class Pages:
    """The pages that are kept.

    Attributes
    ----------
    paths
        Their paths, without slashes at the ends.
    finish
        Gets a page's path and HTML, and returns its final HTML.
    rendered
        Whether Node renders their HTML, which is then not kept, only compressed: it also depends
        on what Gradio reads there.
    """

    paths: Collection[str]
    finish: Callable[[str, str], str] = lambda path, page: page
    rendered: bool = False


class Kept:
    """ASGI middleware that answers from memory what it has answered before."""

    def __init__(self, app: ASGIApp, pages: Pages) -> None:
        self._app, self.pages = app, pages
        self._kept: OrderedDict[Key, Body] = OrderedDict()
        self._size = 0

    def forget(self) -> None:
        """Forget everything, because pages have changed."""
        self._kept.clear()
        self._size = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request."""
        path = scope.get("path", "")
        page = path.strip("/") in self.pages.paths
        if scope.get("method") != "GET" or not (page or FILES.fullmatch(path)):
            await self._app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        if "range" in headers:
            await self._app(scope, receive, send)
            return
        coding = _coding(headers.get("accept-encoding", ""))
        query = scope["query_string"].decode("latin-1")
        key: Key = (coding, path)
        if page:
            key = (*key, query, scope["scheme"], *(headers.get(name, "") for name in DEPENDS))
        body = self._kept.get(key)
        if body is None:
            status, body = await self._ask(scope, receive, page, coding)
            html = Headers(raw=body.headers).get("content-type", "").startswith("text/html")
            if status == 200 and not (self.pages.rendered and html):
                self._keep(key, body)
        else:
            status = 200
            self._kept.move_to_end(key)
        more = body.headers
        address = f"{path}?{query}" if query else path
        if status == 200 and not page and FOR_EVER.fullmatch(address):
            more = [*more, (b"cache-control", b"public, max-age=31536000, immutable")]
        await send({"type": "http.response.start", "status": status, "headers": more})
        await send({"type": "http.response.body", "body": body.content})

    async def _ask(
        self, scope: Scope, receive: Receive, page: bool, coding: str
    ) -> tuple[int, Body]:
        """The app's own answer, compressed."""
        own = [pair for pair in scope["headers"] if pair[0] != b"accept-encoding"]
        start: Message = {}
        parts: list[bytes] = []

        async def collect(message: Message) -> None:
            if message["type"] == "http.response.start":
                start.update(message)
            else:
                parts.append(message.get("body", b""))

        await self._app({**scope, "headers": own}, receive, collect)
        if not start:
            raise ConnectionError("The app has not answered.")
        given = start.get("headers", [])
        headers, content = Headers(raw=given), b"".join(parts)
        kind = headers.get("content-type", "")
        if page and start["status"] == 200 and kind.startswith("text/html"):
            content = self.pages.finish(scope["path"].strip("/"), content.decode()).encode()
        raw = [pair for pair in given if pair[0].lower() != b"content-length"]
        if TEXT.match(kind):
            raw = _varied(raw)
            if coding and len(content) >= LEAST:
                content = _compressed(content, coding)
                raw.append((b"content-encoding", coding.encode()))
        raw.append((b"content-length", str(len(content)).encode()))
        return start["status"], Body(raw, content)

    def _keep(self, key: Key, body: Body) -> None:
        """Keep an answer, and forget those that were not requested for the longest time."""
        if len(body.content) > LIMIT // 8 or key in self._kept:
            return
        self._kept[key] = body
        self._size += len(body.content)
        while self._size > LIMIT:
            _, oldest = self._kept.popitem(last=False)
            self._size -= len(oldest.content)


def _varied(headers: list[tuple[bytes, bytes]]) -> list[tuple[bytes, bytes]]:
    """Headers which say that the answer depends on the accepted content codings."""
    others = [value for name, value in headers if name.lower() == b"vary"]
    kept = [pair for pair in headers if pair[0].lower() != b"vary"]
    return [*kept, (b"vary", b", ".join([*others, b"Accept-Encoding"]))]


def _coding(accepted: str) -> str:
    """The content coding for an Accept-Encoding header (RFC 9110, section 12.5.3), or none.

    Examples
    --------
    >>> _coding("gzip, deflate, br, zstd"), _coding("gzip;q=1.0, br;q=0"), _coding("")
    ('br', 'gzip', '')
    """
    codings = set()
    for entry in accepted.lower().split(","):
        name, _, weight = entry.partition(";")
        if not re.fullmatch(r"q=0(\.0*)?", weight.strip()):
            codings.add(name.strip())
    return next((coding for coding in QUALITY if coding in codings), "")


def _compressed(content: bytes, coding: str) -> bytes:
    if coding == "br":
        return bytes(brotli.compress(content, mode=brotli.MODE_TEXT, quality=QUALITY["br"]))
    return gzip.compress(content, QUALITY["gzip"], mtime=0)
