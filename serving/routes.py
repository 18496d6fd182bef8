"""The routes that are open, what each may carry, and the headers that every answer gets."""

import re
from dataclasses import dataclass
from typing import Literal

KILOBYTE, MEGABYTE = 1_000, 1_000_000

HEADERS_LIMIT = 16 * KILOBYTE  # bytes of all header lines of a request together
NAME_LIMIT = 255  # bytes between two slashes of a path: the longest possible file name
JSON_LIMIT = 1 * MEGABYTE  # an event of the page; 200 names of an album's photos are 100 kB
ALBUM_PHOTOS = 200  # files in one upload, few of which are as large as allowed


@dataclass(frozen=True)
class Route:
    """An open route.

    Attributes
    ----------
    name
        Its name in logs and metrics.
    cost
        What it costs a client's allowance: nothing if it only shows something.
    body
        The kind of limit for its body.
    stays_open
        Whether its answer is a long-lived stream.
    """

    name: str
    cost: int = 0
    body: Literal["none", "json", "photo", "upload"] = "none"
    stays_open: bool = False


# Gradio has some seventy routes. The page, gradio_client, curl and MCP need these; all others
# (running without the queue, proxying, editing the app, recording, monitoring, components' own
# functions) are closed.
_API = "/gradio_api"
_NAME = r"[\w.-]{1,100}"
_ROUTES: tuple[tuple[str, str, Route], ...] = (
    ("GET", r"/(programs/?)?", Route("page")),
    ("GET", rf"/(programs/)?config/?|{_API}/(info|openapi\.json|app_id)/?", Route("config")),
    ("GET", r"/(static|assets|svelte)/.+|/(favicon\.ico|robots\.txt|preview\.jpg)", Route("asset")),
    ("GET", r"/_app/.+", Route("node")),  # loaded by a page that Node rendered
    ("GET", rf"({_API})?/theme\.css|/manifest\.json|/pwa_icon(/\d{{1,4}})?", Route("asset")),
    ("GET", rf"{_API}/(startup-events|queue/status)", Route("status")),
    ("GET", rf"{_API}/heartbeat/{_NAME}", Route("heartbeat", stays_open=True)),
    ("GET", rf"{_API}/file=/.+", Route("file")),
    ("GET", rf"{_API}/upload_progress", Route("upload_progress", stays_open=True)),
    ("POST", rf"{_API}/upload", Route("upload", 1, "upload")),
    ("POST", rf"{_API}/queue/join", Route("join", 1, "json")),
    ("GET", rf"{_API}/queue/data", Route("answer", stays_open=True)),
    ("POST", rf"{_API}/cancel", Route("cancel", body="json")),
    ("POST", rf"{_API}/call/(v2/)?{_NAME}/?", Route("call", 1, "photo")),  # a photo as base64
    ("GET", rf"{_API}/call/(v2/)?{_NAME}/{_NAME}", Route("answer", stays_open=True)),
    ("GET", rf"{_API}/mcp(/http)?/?", Route("mcp", stays_open=True)),
    ("POST", rf"{_API}/mcp(/http)?/?", Route("mcp", 1, "photo")),  # a photo as base64
    ("DELETE", rf"{_API}/mcp(/http)?/?", Route("mcp")),
    ("GET", rf"({_API})?/healthz", Route("healthz")),
    ("GET", rf"({_API})?/metrics", Route("metrics")),
)
_PATTERNS = [(method, re.compile(pattern), route) for method, pattern, route in _ROUTES]
_PREFLIGHT = Route("preflight")  # a browser asks whether another site may send a request

# Parts of a path that no honest client sends: a parent folder, control characters, a Windows path.
_SUSPICIOUS = re.compile(r"(^|[/=])\.\.(/|$)|[\x00-\x1f\x7f\\]")


def find(method: str, path: str) -> Route | None:
    """The route to a decoded path, or None if there is none.

    Examples
    --------
    >>> find("POST", "/gradio_api/upload").name
    'upload'
    >>> find("POST", "/gradio_api/run/analyze") is None
    True
    """
    if _SUSPICIOUS.search(path) or any(len(part.encode()) > NAME_LIMIT for part in path.split("/")):
        return None
    wanted = "GET" if method == "HEAD" else method
    for known, pattern, route in _PATTERNS:
        if pattern.fullmatch(path) and wanted in (known, "OPTIONS"):
            return _PREFLIGHT if wanted == "OPTIONS" else route
    return None


def photo_as_text(photo_bytes: int) -> int:
    """How many bytes a request with a photo in base64 may have."""
    return photo_bytes * 4 // 3 + JSON_LIMIT


def body_limit(route: Route, photo_bytes: int) -> int:
    """How many bytes a request may have if a photo may have `photo_bytes`."""
    return {
        "none": KILOBYTE,
        "json": JSON_LIMIT,
        "photo": photo_as_text(photo_bytes),
        "upload": photo_bytes * ALBUM_PHOTOS // 5 + JSON_LIMIT,
    }[route.body]


# The page's scripts are Gradio's: inline, and evaluated from text (the `js` of events). A Space
# shows the page in a frame on huggingface.co.
_POLICY = "; ".join(
    (
        "default-src 'self'",
        "script-src 'self' 'unsafe-inline' 'unsafe-eval' blob:",
        "style-src 'self' 'unsafe-inline'",
        "img-src 'self' data: blob:",
        "media-src 'self' data: blob:",
        "font-src 'self' data:",
        "connect-src 'self' data: blob:",
        "worker-src 'self' blob:",
        "object-src 'none'",
        "base-uri 'self'",
        "form-action 'self'",
        "frame-ancestors 'self' https://huggingface.co",
    )
)
_EVERYWHERE = (
    (b"x-content-type-options", b"nosniff"),
    # not "no-referrer": from it, Gradio knows which of its pages sends a request
    (b"referrer-policy", b"same-origin"),
    (b"permissions-policy", b"camera=(self), microphone=(), geolocation=(), payment=(), usb=()"),
    (b"cross-origin-opener-policy", b"same-origin"),
)
_PAGE_POLICY = ((b"content-security-policy", _POLICY.encode()),)
_FILE_POLICY = (
    # A visitor's file is only shown: no script in it runs.
    (b"content-security-policy", b"default-src 'none'; img-src 'self'; sandbox"),
    # Only the visitor's own browser may cache it.
    (b"cache-control", b"private, max-age=600"),
)


def security_headers(route: Route | None) -> tuple[tuple[bytes, bytes], ...]:
    """The security headers of an answer."""
    return _EVERYWHERE + (_FILE_POLICY if route and route.name == "file" else _PAGE_POLICY)
