"""Streams of answers whose end the client reads late, or never."""

import json
import secrets
import select
import socket
from collections.abc import Callable

import pytest

from serving import internals, streams
from tests.raw_http import Served, within

JOIN = "/gradio_api/queue/join"
DATA = "/gradio_api/queue/data?session_hash="
# By these the server knows Gradio's own clients, in a browser and in Python.
OWN = {"browser": "Accept: text/event-stream", "python": "User-Agent: gradio_client/2.7.2; x"}


@pytest.fixture
def session() -> str:
    return secrets.token_hex(5)


def asking(served: Served, session: str) -> socket.socket:
    """A connection on which an answer was asked for; it will be a sentence, which costs little."""
    functions = json.loads(served.ask("GET", "/config").body)["dependencies"]
    (number,) = [each["id"] for each in functions if each["api_name"] == "breed"]
    body = json.dumps({"data": ["odd"], "fn_index": number, "session_hash": session}).encode()
    return served.raw(
        f"POST {JOIN} HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
        f"Content-Length: {len(body)}\r\n\r\n".encode()
        + body
    )


def listening(served: Served, session: str, *lines: str) -> socket.socket:
    """A connection on which a session's answers arrive."""
    head = (f"GET {DATA}{session} HTTP/1.1", "Host: x", *lines, "", "")
    return served.raw("\r\n".join(head).encode())


def read_until(connection: socket.socket, text: str) -> str:
    """What arrives until this, and not a byte more."""
    read = b""
    while not read.endswith(text.encode()):
        byte = connection.recv(1)
        assert byte, read
        read += byte
    return read.decode()


def receipt(connection: socket.socket) -> tuple[str, bool]:
    """The id by which the server accepted a question, and whether it told of no open stream."""
    head, _, body = read_until(connection, "}").rpartition("\r\n\r\n")
    return json.loads(body)["event_id"], "x-petscope-stream: none" in head.splitlines()


def event_of(connection: socket.socket) -> str:
    """The id by which the server has accepted what was asked."""
    return receipt(connection)[0]


def computed(served: Served) -> Callable[[], bool]:
    """Tells whether one more answer than now was computed."""
    queue = served.running.queue
    wanted = queue.answers + 1
    return lambda: queue.answers >= wanted and queue.length == 0


def with_an_unread_end(served: Served, session: str, client: str) -> socket.socket:
    """A session's stream that has ended after its only answer, which its client may not know."""
    event_of(asking(served, session))
    stream = listening(served, session, OWN[client])
    read_until(stream, '"close_stream"')
    return stream


@pytest.mark.parametrize("client", OWN)
@pytest.mark.parametrize("sign", ["hangs up", "listens again"])
def test_what_is_asked_before_the_end_was_read_is_accepted_after_it(
    served: Served, session: str, client: str, sign: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(streams, "KNOCKS", 1_000_000)  # this machine may be slow
    stream = with_an_unread_end(served, session, client)
    answered = computed(served)
    asked = asking(served, session)
    assert within(60, answered)  # nobody waits longer for the answer itself

    # Told now, the client would believe that the answer comes in the stream that has ended.
    assert select.select([asked], [], [], 0)[0] == []

    if sign == "hangs up":
        stream.close()
        event = event_of(asked)
        again = listening(served, session, OWN[client])
    else:
        again = listening(served, session, OWN[client])
        event = event_of(asked)
    told = read_until(again, '"close_stream"')
    assert [event] == [
        json.loads(line[6:])["event_id"]
        for line in told.splitlines()
        if "process_completed" in line
    ]


def test_a_client_that_never_hangs_up_is_given_up(
    served: Served, session: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(streams, "KNOCK", 0.05)
    monkeypatch.setattr(streams, "KNOCKS", 40)
    stream = with_an_unread_end(served, session, "browser")
    asked = asking(served, session)

    rest = read_until(stream, "\r\n0\r\n\r\n")  # the end of the response
    assert rest.count(":\n\n") > 1  # comments, in which a proxy notices that a client has left
    for question in (asked, asking(served, session)):
        assert receipt(question)[1]  # so that a page can wait until it has read the end


def test_a_receipt_tells_whether_the_session_has_a_stream(
    served: Served, session: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as nobody_s_turn:
        nobody_s_turn.setattr(served.running.queue, "choose", lambda *_: None)
        first, told_of_none = receipt(asking(served, session))
        assert told_of_none
        stream = listening(served, session, OWN["browser"])
        read_until(stream, "estimation")
        second, told_of_none = receipt(asking(served, session))
        assert not told_of_none

    told = read_until(stream, '"close_stream"')
    assert told.count("process_completed") == 2
    assert first in told
    assert second in told


def test_to_other_clients_the_end_is_the_end(
    served: Served, session: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(streams, "KNOCKS", 1_000_000)
    event_of(asking(served, session))

    read_until(listening(served, session), "\r\n0\r\n\r\n")

    assert event_of(asking(served, session))


def test_an_open_page_is_let_go_when_the_server_stops(served: Served, session: str) -> None:
    alive = served.raw(f"GET /gradio_api/heartbeat/{session} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
    read_until(alive, "ALIVE")

    internals.end_heartbeats(served.running.blocks)

    read_until(alive, "\r\n0\r\n\r\n")
    served.running.blocks.app.stop_event.clear()  # for the tests after this one
