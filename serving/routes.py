"""The routes that are open, what each may carry, and the headers that every answer gets."""

import re
from dataclasses import dataclass
from typing import Literal

KILOBYTE, MEGABYTE = 1_000, 1_000_000

HEADERS_LIMIT = 16 * KILOBYTE  # all header lines of a request together
JSON_LIMIT = 1 * MEGABYTE  # an event of the page; 200 names of an album's photos are 100 kB
ALBUM_PHOTOS = 200  # uploaded in one request, of which few are as large as one may be


@dataclass(frozen=True)
class Route:
    """An open route.

    Attributes
    ----------
    name
        What logs and metrics call it.
    cost
        What it takes of a client's allowance: nothing for what only shows.
    body
        Which limit its body has.
    stays_open
        Whether its answer is a stream that lasts.
    """

    name: str
    cost: int = 0
    body: Literal["none", "json", "photo", "upload"] = "none"
    stays_open: bool = False


# Gradio has some seventy routes. These are what the page, gradio_client, curl and MCP need; what is
# missing here (running without the queue, proxying, editing the app, recording, monitoring,
# components' own functions) is closed.
_API = "/gradio_api"
_NAME = r"[\w.-]{1,100}"
_ROUTES: tuple[tuple[str, str, Route], ...] = (
    ("GET", r"/(programs/?)?", Route("page")),
    ("GET", rf"/(programs/)?config/?|{_API}/(info|openapi\.json|app_id)/?", Route("config")),
    ("GET", r"/(static|assets|svelte)/.+|/favicon\.ico|/robots\.txt", Route("asset")),
    ("GET", r"/_app/.+", Route("node")),  # what a page that Node rendered loads
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
_PREFLIGHT = Route("preflight")  # the browser's question whether another site's page may ask

# Parts of a path that no honest client sends: a way up, control characters, a Windows path.
_SUSPICIOUS = re.compile(r"(^|[/=])\.\.(/|$)|[\x00-\x1f\x7f\\]")


def find(method: str, path: str) -> Route | None:
    """The route to a decoded path, or None where there is none.

    Examples
    --------
    >>> find("POST", "/gradio_api/upload").name
    'upload'
    >>> find("POST", "/gradio_api/run/analyze") is None
    True
    """
    if _SUSPICIOUS.search(path):
        return None
    wanted = "GET" if method == "HEAD" else method
    for known, pattern, route in _PATTERNS:
        if pattern.fullmatch(path) and wanted in (known, "OPTIONS"):
            return _PREFLIGHT if wanted == "OPTIONS" else route
    return None


def photo_as_text(photo_bytes: int) -> int:
    """How many bytes a request may carry that holds a photo in base64."""
    return photo_bytes * 4 // 3 + JSON_LIMIT


def body_limit(route: Route, photo_bytes: int) -> int:
    """How many bytes a request may carry, where a photo may have `photo_bytes`."""
    return {
        "none": KILOBYTE,
        "json": JSON_LIMIT,
        "photo": photo_as_text(photo_bytes),
        "upload": photo_bytes * ALBUM_PHOTOS // 5 + JSON_LIMIT,
    }[route.body]


# The page's scripts are Gradio's: inline, and made from text (the `js` of events). A Space shows
# the page in a frame of huggingface.co.
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
    # not "no-referrer": Gradio reads from it which of its pages asks
    (b"referrer-policy", b"same-origin"),
    (b"permissions-policy", b"camera=(self), microphone=(), geolocation=(), payment=(), usb=()"),
    (b"cross-origin-opener-policy", b"same-origin"),
)
_PAGE_POLICY = ((b"content-security-policy", _POLICY.encode()),)
_FILE_POLICY = (
    # A file of a visitor is shown as it is or not at all: no script in it runs.
    (b"content-security-policy", b"default-src 'none'; img-src 'self'; sandbox"),
    # Only the visitor's own browser may keep it.
    (b"cache-control", b"private, max-age=600"),
)


def security_headers(route: Route | None) -> tuple[tuple[bytes, bytes], ...]:
    """The headers that an answer gets."""
    return _EVERYWHERE + (_FILE_POLICY if route and route.name == "file" else _PAGE_POLICY)
