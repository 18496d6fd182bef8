"""Streams of answers: no answer is lost between the end of one and the beginning of the next.

A client keeps one stream for all answers of its session, and opens it when it waits for one and has
none open. The server ends it after the last answer that it owes. Until the client has read that
end, which may be behind megabytes of answers or in front of a busy browser, it takes the stream for
open: if it asks for something else meanwhile, it listens in vain, because Gradio has nothing to
tell it so. Therefore the receipt of a question says whether the session has a stream. If not, the
page's script `ui/streams.js` keeps the receipt from Gradio until the end of the last one was read.

Clients without this script cannot be helped as surely: for them the server keeps the receipt back
until they have hung up, which is how Gradio's clients show that they have read the end. Now and
then one fails to hang up (after an upload, the one in JavaScript hangs up that stream instead), so
the server waits only briefly.
"""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field

from starlette.types import Message, Receive, Scope, Send

from serving import internals

KNOCK = 0.25  # seconds between two comments, which let a proxy notice that the client has left
KNOCKS = 8  # comments after which a client that has not left is given up: 2 s
NO_STREAM = (b"x-petscope-stream", b"none")  # header of receipts; `ui/streams.js` knows it


@dataclass(eq=False)
class _Stream:
    ended: bool = False  # whether the end was sent
    read: asyncio.Event = field(default_factory=asyncio.Event)  # set when the client is gone


class Streams:
    """The streams of all sessions."""

    def __init__(self) -> None:
        self._last: dict[str, _Stream] = {}  # each session's, until the response is over

    @contextmanager
    def opened(self, session: str, send: Send, receive: Receive) -> Iterator[Send]:
        """A context in which a session's stream is sent with the function that it yields.

        After the end, the response stays open until the client leaves.
        """
        if before := self._last.get(session):
            before.read.set()  # a client with an open stream opens no other
        stream = self._last[session] = _Stream()

        async def send_stream(message: Message) -> None:
            if internals.ends_stream(message):
                stream.ended = True
            elif stream.ended and not message.get("more_body"):
                await _until_left(send, receive)
            await send(message)

        try:
            yield send_stream
        finally:
            stream.read.set()
            if self._last.get(session) is stream:
                del self._last[session]

    def receipt(self, scope: Scope, send: Send) -> Send:
        """A function that sends the answer to a question, which may be its receipt."""
        state = scope.setdefault("state", {})

        async def send_receipt(message: Message) -> None:
            session = state.get(internals.SESSION)  # of a question that was accepted
            if session and message["type"] == "http.response.start":
                last = self._last.get(session)
                if last and last.ended:
                    await last.read.wait()
                    last = self._last.get(session)
                if last is None or last.ended:
                    message = {**message, "headers": [*message["headers"], NO_STREAM]}
            await send(message)

        return send_receipt


async def _until_left(send: Send, receive: Receive) -> None:
    for _ in range(KNOCKS):
        with suppress(TimeoutError):
            async with asyncio.timeout(KNOCK):
                while (await receive())["type"] != "http.disconnect":
                    pass
                return
        # Some proxies notice only when they next write to a client that it has left.
        await send({"type": "http.response.body", "body": b":\n\n", "more_body": True})
