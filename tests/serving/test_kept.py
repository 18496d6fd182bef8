"""Pages, scripts and styles from memory: the same for everybody who asks the same, and no more."""

import asyncio
import gzip
import re
from collections.abc import Mapping
from typing import Any

import brotli
import pytest
from starlette.types import Receive, Scope, Send

from serving import internals, kept, preloads
from serving.kept import Kept, Pages
from tests.raw_http import Answer, Served

TEXT = b"letters that are worth compressing, " * 100
MAIN = r'<script type="module"[^>]* src="\./(assets/[^"]+)"'


class Source:
    """An app that counts how often it is asked."""

    def __init__(self, content: bytes = TEXT, kind: str = "text/html", status: int = 200) -> None:
        self.content, self.kind, self.status = content, kind, status
        self.asked: list[Mapping[str, str]] = []

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self.asked.append({name.decode(): value.decode() for name, value in scope["headers"]})
        headers = [(b"content-type", self.kind.encode()), (b"vary", b"Accept-Language")]
        await send(
            {"type": "http.response.start", "status": self.status, "headers": headers},
        )
        for part in (self.content[:9], self.content[9:]):
            await send({"type": "http.response.body", "body": part, "more_body": True})
        await send({"type": "http.response.body", "body": b""})


def ask(app: Kept, path: str, method: str = "GET", query: str = "", **headers: str) -> Answer:
    sent: list[Any] = []

    async def receive() -> Any:  # noqa: ANN401 -- a message of ASGI
        raise AssertionError("Nothing of the body is needed.")

    async def send(message: Any) -> None:  # noqa: ANN401
        sent.append(message)

    named = {name.replace("_", "-"): value for name, value in headers.items()}
    scope = {
        "type": "http",
        "scheme": "http",
        "method": method,
        "path": path,
        "query_string": query.encode(),
        "headers": [(name.encode(), value.encode()) for name, value in named.items()],
    }
    asyncio.run(app(scope, receive, send))
    start, *parts = sent
    got = {name.decode(): value.decode() for name, value in start["headers"]}
    return Answer(start["status"], got, b"".join(part["body"] for part in parts))


@pytest.fixture
def source() -> Source:
    return Source()


@pytest.fixture
def app(source: Source) -> Kept:
    return Kept(source, Pages({"", "programs", "config"}))


def test_a_page_is_written_once_for_all_who_ask_the_same(app: Kept, source: Source) -> None:
    answers = [ask(app, "/", accept_language="de", cookie=f"session={n}") for n in range(3)]

    assert len(source.asked) == 1
    assert answers[0] == answers[1] == answers[2]
    assert answers[0].body == TEXT


@pytest.mark.parametrize(
    "other",
    [
        {"accept_language": "en"},
        {"host": "other.example"},
        {"x_forwarded_host": "other.example"},
        {"x_forwarded_proto": "https"},
        {"x_gradio_server": "http://other.example"},
        {"query": "lang=en"},
        {"path": "/programs"},
        {"accept_encoding": "gzip"},
    ],
)
def test_a_page_on_which_the_request_has_an_influence_is_another(
    app: Kept, source: Source, other: dict[str, str]
) -> None:
    one = {"path": "/", "accept_language": "de", "host": "here.example"}
    ask(app, **one)
    ask(app, **{**one, **other})

    assert len(source.asked) == 2


@pytest.mark.parametrize(
    ("accepted", "coding"),
    [
        ("gzip, deflate, br, zstd", "br"),
        ("gzip", "gzip"),
        ("br;q=0, gzip;q=0.5", "gzip"),
        ("identity", None),
        ("", None),
    ],
)
def test_it_is_sent_as_the_client_accepts_it(app: Kept, accepted: str, coding: str | None) -> None:
    for path in ("/", "/assets/index-Akn07EZk2.js"):
        answer = ask(app, path, accept_encoding=accepted)

        assert answer.headers.get("content-encoding") == coding
        assert int(answer.headers["content-length"]) == len(answer.body)
        assert answer.headers["vary"] == "Accept-Language, Accept-Encoding"
        decoded = {"br": brotli.decompress, "gzip": gzip.decompress, None: bytes}[coding]
        assert decoded(answer.body) == TEXT


def test_pictures_are_not_compressed_again() -> None:
    answer = ask(Kept(Source(kind="image/png"), Pages(())), "/static/a.png", accept_encoding="br")

    assert answer.body == TEXT
    assert "content-encoding" not in answer.headers


@pytest.mark.parametrize(
    ("path", "query", "for_ever"),
    [
        ("/assets/Index-Akn07EZk2.js", "", True),
        ("/assets/Index-BtpqUM30.css", "", True),
        ("/_app/immutable/chunks/index-C71TU_Uc.js", "", True),
        ("/theme.css", "v=129bf1f94afbc4", True),
        ("/theme.css", "", False),
        ("/static/img/logo.svg", "", False),
        ("/", "", False),
    ],
)
def test_only_what_changes_its_name_when_it_changes_is_kept_for_ever_by_browsers(
    app: Kept, path: str, query: str, for_ever: bool
) -> None:
    answer = ask(app, path, query=query)

    assert ("immutable" in answer.headers.get("cache-control", "")) is for_ever


def test_what_failed_is_asked_for_again() -> None:
    source = Source(status=404)
    app = Kept(source, Pages({""}))

    for _ in range(2):
        answer = ask(app, "/assets/none-Akn07EZk2.js")
        assert answer.status == 404
        assert "cache-control" not in answer.headers
    assert len(source.asked) == 2


@pytest.mark.parametrize(
    ("method", "path", "headers"),
    [
        ("GET", "/gradio_api/file=/tmp/photo.png", {}),
        ("GET", "/gradio_api/queue/data", {}),
        ("HEAD", "/", {}),
        ("POST", "/", {}),
        ("GET", "/pwa_icon/64", {}),
        ("GET", "/static/video.mp4", {"range": "bytes=0-1"}),
    ],
)
def test_everything_else_passes_unchanged(
    app: Kept, source: Source, method: str, path: str, headers: dict[str, str]
) -> None:
    for _ in range(2):
        answer = ask(app, path, method, accept_encoding="br", **headers)
        assert answer.body == TEXT
        assert answer.headers["vary"] == "Accept-Language"
    assert [asked["accept-encoding"] for asked in source.asked] == ["br", "br"]


def test_a_page_that_node_renders_is_compressed_and_not_kept(app: Kept, source: Source) -> None:
    app.pages.rendered = True

    for _ in range(2):
        assert gzip.decompress(ask(app, "/", accept_encoding="gzip").body) == TEXT
    assert len(source.asked) == 2


def test_memory_has_a_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kept, "LIMIT", 10 * len(TEXT))
    source = Source()
    app = Kept(source, Pages({""}))
    for number in range(30):
        ask(app, "/", query=f"example={number}")
    asked = len(source.asked)

    ask(app, "/", query="example=29")
    assert len(source.asked) == asked == 30
    ask(app, "/", query="example=0")
    assert len(source.asked) == 31
    assert sum(len(body.content) for body in app._kept.values()) == app._size <= kept.LIMIT


def test_the_real_page_says_where_it_is_and_in_which_language(served: Served) -> None:
    client = served.new_client()
    for _ in range(2):
        for host in ("one.example", "two.example"):
            for language in ("en", "de"):
                headers = {"X-Forwarded-Host": host, "Accept-Language": language}
                answer = served.ask("GET", "/", headers=headers, client=client)
                assert f'"root":"http://{host}"' in answer.body.decode()
                assert f'lang="{language}"' in answer.body.decode()


def test_the_page_names_all_that_it_loads_before_its_layout(served: Served) -> None:
    page = served.ask("GET", "/").body.decode()
    head = page.partition("window.gradio_config")[0]
    named = re.findall(r'<link rel="(modulepreload|preload)"[^>]* href="\./(assets/[^"]+)"', head)
    main = re.search(MAIN, page)
    assert main

    assert ("modulepreload", main[1]) in named
    assert any("/core-" in path for _, path in named)
    assert any("/Blocks-" in path for _, path in named)
    for kind, path in named:
        assert path.endswith(".css" if kind == "preload" else ".js")
        assert (internals.page_scripts().parent / path).is_file()
    assert len(named) == len(set(named)) > 50


def test_scripts_that_are_built_differently_get_no_links(served: Served) -> None:
    folder = internals.page_scripts()

    assert preloads.links("<head></head>", {"html"}, folder) == ""
    assert preloads.links('<script type="module" src="./assets/none.js">', {"html"}, folder) == ""
