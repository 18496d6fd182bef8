"""Too many, too large and too slow requests, over raw HTTP."""

import json
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest
from gradio_client import Client, handle_file

from serving import connections, data_urls, metrics, queueing, request_body, routes
from serving.messages import Refused
from tests.raw_http import CAT, Served, everything, file_data, within

JOIN = "/gradio_api/queue/join"
UPLOAD = "/gradio_api/upload"
FORM = "Content-Type: multipart/form-data; boundary=x"


def head(method: str, path: str, *lines: str) -> bytes:
    return "\r\n".join((f"{method} {path} HTTP/1.1", "Host: x", *lines, "", "")).encode()


def status(answer: bytes) -> int:
    return int(answer.split(b" ", 2)[1])


def sentence(answer: bytes) -> str:
    return json.loads(answer.split(b"\r\n\r\n", 1)[1].split(b"\r\n")[-1])["detail"]


@pytest.mark.parametrize(
    ("path", "limit"),
    [
        (JOIN, routes.JSON_LIMIT),
        ("/gradio_api/call/analyze", 2_000_000 * 4 // 3 + routes.JSON_LIMIT),
        ("/gradio_api/cancel", routes.JSON_LIMIT),
        ("/gradio_api/mcp/", 2_000_000 * 4 // 3 + routes.JSON_LIMIT),
        (UPLOAD, 2_000_000 * 40 + routes.JSON_LIMIT),
    ],
)
def test_a_body_announced_as_too_large_is_refused_unread(
    served: Served, path: str, limit: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(request_body, "LINGER", 0.1)  # nothing follows the headers
    connection = served.raw(head("POST", path, f"Content-Length: {limit + 1}"))

    answer = everything(connection)

    assert status(answer) == 413
    assert sentence(answer).startswith("The request is larger than the")


def test_a_chunked_body_is_refused_once_it_is_too_large(served: Served) -> None:
    connection = served.raw(head("POST", JOIN, "Transfer-Encoding: chunked"))
    chunk = b"10000\r\n" + b" " * 0x10000 + b"\r\n"

    for _ in range(routes.JSON_LIMIT // 0x10000 + 2):
        connection.sendall(chunk)
    answer = everything(connection)

    assert status(answer) == 413
    assert sentence(answer) == "The request is larger than the 1 MB allowed."


def test_a_photo_may_have_the_allowed_size_and_no_more(served: Served) -> None:
    assert served.upload(bytes(1_999_000)).status == 200
    answer = served.upload(bytes(2_001_000))

    assert answer.status == 413
    assert answer.sentence == "A file is larger than the 2 MB allowed: please send a smaller copy."
    assert within(60, lambda: not list(uploads(served).glob("tmp*")))


@pytest.mark.parametrize("in_pieces", [False, True])
def test_large_headers_are_refused(served: Served, in_pieces: bool) -> None:
    lines = [f"X-{i}: {'a' * 1000}" for i in range(17 if not in_pieces else 60)]
    connection = served.raw(b"")
    content = head("GET", "/config", *lines)
    if in_pieces:
        for start in range(0, len(content), 4096):
            try:
                connection.sendall(content[start : start + 4096])
            except OSError:
                break
            time.sleep(0.002)
    else:
        connection.sendall(content)
        connection.shutdown(socket.SHUT_WR)

    answer = everything(connection)

    assert status(answer) == 431
    assert sentence(answer) == "The request’s headers are too large."


def test_slow_headers_are_refused(served: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connections, "HEADERS_TIME", 0.5)
    silent, dripping = served.raw(b""), served.raw(b"GET / HTTP/1.1\r\nHo")
    kept = served.raw(head("GET", "/healthz"))
    time.sleep(0.2)
    with suppress(OSError):  # it was too slow already, where this machine is
        dripping.sendall(b"st: ")
    kept.sendall(b"GET / HT")  # a second request over the same connection

    for connection in (silent, dripping, kept):
        answer = everything(connection)
        assert b"HTTP/1.1 408 Request Timeout" in answer
        assert "too slowly" in sentence(answer)


def test_a_slow_body_is_refused(served: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(request_body, "BODY_TIME", 0.5)
    monkeypatch.setattr(request_body, "LINGER", 0.1)
    slow = served.raw(head("POST", JOIN, "Content-Length: 100") + b"{")
    upload = served.raw(
        head("POST", UPLOAD, "Content-Length: 99999", FORM)
        + b'--x\r\nContent-Disposition: form-data; name="files"; filename="a"'
    )

    for connection in (slow, upload):
        answer = everything(connection)
        assert status(answer) == 408
        assert "too slowly" in sentence(answer)
    assert within(60, lambda: not list(uploads(served).glob("tmp*")))


def test_a_client_that_does_not_read_is_disconnected(
    served: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connections, "STALLED_TIME", 0.5)
    before = len(connections_of(served))
    connection = socket.socket()
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    connection.connect(("127.0.0.1", served.port))
    for _ in range(30):
        connection.sendall(head("GET", "/config"))

    assert within(60, lambda: len(connections_of(served)) <= before)
    connection.close()


def test_an_aborted_upload_leaves_nothing_behind(served: Served) -> None:
    before = metrics.open_files()
    for content in (
        head("POST", JOIN, "Content-Length: 100") + b"{",
        head(
            "POST", UPLOAD, "Content-Length: 9999", "Content-Type: multipart/form-data; boundary=x"
        )
        + b'--x\r\nContent-Disposition: form-data; name="files"; filename="a"\r\n\r\nabc',
        head("GET", "/gradio_api/heartbeat/gone"),
        head("GET", "/gradio_api/queue/data?session_hash=gone"),
        head("GET", "/"),
        b"GET",
    ):
        for _ in range(5):
            served.raw(content).close()

    assert within(60, lambda: metrics.open_files() <= before + 2)
    faults = [line for line in served.lines if line["event"] == "fault"]
    assert not any("ClientDisconnect" in str(line["kind"]) for line in faults)


@pytest.fixture
def ten_at_once(served: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each client may request ten answers, and then one a minute."""
    asked = served.running.guard._asked
    monkeypatch.setattr(asked, "burst", 10)
    monkeypatch.setattr(asked, "per_second", 1 / 60)


@pytest.mark.usefixtures("ten_at_once")
def test_a_client_s_requests_are_limited(served: Served) -> None:
    client, other = served.new_client(), served.new_client()
    body = {"data": [], "fn_index": 10_000, "session_hash": "x"}

    answers = [served.post(JOIN, body, client=client) for _ in range(12)]

    assert [answer.status == 429 for answer in answers] == [False] * 10 + [True] * 2
    assert 1 <= int(answers[-1].headers["retry-after"]) <= 61
    assert "600 a minute" in answers[-1].sentence
    assert served.post(JOIN, body, client=other).status != 429
    # It can still see the page; only answers are refused.
    assert served.ask("GET", "/", client=client).status == 200


@pytest.mark.usefixtures("ten_at_once")
def test_a_forged_address_does_not_help(served: Served) -> None:
    body = {"data": [], "fn_index": 10_000, "session_hash": "x"}
    client = served.new_client()

    statuses = [
        served.post(JOIN, body, client=f"{served.new_client()}, {client}").status for _ in range(12)
    ]

    assert statuses[-2:] == [429, 429]


@pytest.fixture
def slow_answers(monkeypatch: pytest.MonkeyPatch) -> Iterator[threading.Event]:
    """Answers to programs wait until the event is set."""
    from ui import programs

    go, read = threading.Event(), programs.read
    monkeypatch.setattr(programs, "read", lambda path: go.wait(600) and read(path))
    yield go
    go.set()


def test_a_full_queue_is_reported_with_place_and_time(
    served: Served, uploaded: str, slow_answers: threading.Event, monkeypatch: pytest.MonkeyPatch
) -> None:
    queue = served.running.queue
    monkeypatch.setattr(queue, "max_waiting", 3)
    data = {"data": [file_data(uploaded)]}
    first = [served.post("/gradio_api/call/breed", data) for _ in range(2)]
    assert within(60, lambda: queue.waiting == 0 and queue.length == 2)
    waiting = [served.post("/gradio_api/call/breed", data) for _ in range(3)]

    refused = served.post("/gradio_api/call/breed", data)
    page = served.post(JOIN, {"data": [], "fn_index": 0, "session_hash": "x"})

    assert [answer.status for answer in first + waiting] == [200] * 5
    for answer in (refused, page):
        assert answer.status == 503
        assert "busy: you would be number 4 in the queue" in answer.sentence
        assert int(answer.headers["retry-after"]) >= 1
    assert served.ask("GET", "/healthz").status == 200
    slow_answers.set()
    assert within(60, lambda: queue.length == 0)


def test_one_client_cannot_fill_the_queue(
    served: Served, uploaded: str, slow_answers: threading.Event, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(queueing, "MAX_PENDING", 4)
    greedy = served.new_client()
    data = {"data": [file_data(uploaded)]}

    answers = [served.post("/gradio_api/call/breed", data, client=greedy) for _ in range(6)]

    assert [answer.status for answer in answers] == [200] * 4 + [429] * 2
    assert answers[-1].sentence.startswith("You are already waiting for 4 answers")
    assert served.post("/gradio_api/call/breed", data).status == 200
    slow_answers.set()
    assert within(60, lambda: served.running.queue.length == 0)


@pytest.mark.parametrize("limited", ["client", "queue"])
def test_requests_that_come_together_do_not_all_get_the_last_place(
    served: Served,
    uploaded: str,
    slow_answers: threading.Event,
    monkeypatch: pytest.MonkeyPatch,
    limited: str,
) -> None:
    queue, data = served.running.queue, {"data": [file_data(uploaded)]}
    clients = [served.new_client()] * 6
    if limited == "client":
        monkeypatch.setattr(queueing, "MAX_PENDING", 4)
        accepted, refused = 4, 429
    else:
        clients = [served.new_client() for _ in range(6)]
        for _ in range(2):  # the workers are busy
            served.post("/gradio_api/call/breed", data)
        assert within(60, lambda: queue.waiting == 0 and queue.length == 2)
        monkeypatch.setattr(queue, "max_waiting", 3)
        accepted, refused = 3, 503
    # Those that are accepted wait just before they enter the queue, until the others are refused.
    go_on, store = threading.Event(), data_urls.as_files
    monkeypatch.setattr(data_urls, "as_files", lambda *given: go_on.wait(60) and store(*given))
    statuses: list[int] = []

    def ask(client: str) -> None:
        statuses.append(served.post("/gradio_api/call/breed", data, client=client).status)

    visitors = [threading.Thread(target=ask, args=[client]) for client in clients]
    for visitor in visitors:
        visitor.start()
    assert within(60, lambda: len(statuses) == 6 - accepted)
    go_on.set()
    for visitor in visitors:
        visitor.join(60)

    assert sorted(statuses) == [200] * accepted + [refused] * (6 - accepted)
    slow_answers.set()
    assert within(60, lambda: queue.length == 0)


def test_a_place_is_given_back_if_no_answer_took_it(
    served: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(queueing, "MAX_PENDING", 1)
    queue, client = served.running.queue, served.new_client()

    with suppress(OSError), queue.place(client, "x"):
        with pytest.raises(Refused), queue.place(client, "x"):
            pass
        raise OSError("The disk is full.")

    with queue.place(client, "x"):  # it is free again
        pass


def test_no_more_answers_are_computed_at_a_time_than_there_are_workers(
    served: Served, uploaded: str, slow_answers: threading.Event
) -> None:
    for name, more in (("breed", []), ("cut_out", []), ("analyze", [3])):
        served.post(f"/gradio_api/call/{name}", {"data": [file_data(uploaded), *more]})
        served.post("/gradio_api/call/breed", {"data": [file_data(uploaded)]})
    queue = served.running.queue

    assert within(60, lambda: queue.length - queue.waiting == 2)
    assert queue.waiting >= 2
    slow_answers.set()
    assert within(60, lambda: queue.length == 0)


def test_gradio_s_own_client_gets_its_answer(served: Served) -> None:
    client = Client(served.url, verbose=False, headers={"X-Forwarded-For": served.new_client()})

    answer = client.predict(handle_file(CAT), api_name="/breed")

    assert len(answer) == 5


def uploads(served: Served) -> Path:
    return Path(served.running.store.folder)


def connections_of(served: Served) -> set[object]:
    return served.running.server.server_state.connections
