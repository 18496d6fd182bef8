"""Streams of answers: no answer is lost between the end of one and the beginning of the next.

A client keeps one stream for all answers of its session, and opens it when it waits for one and has
none open. The server ends it after the last answer that it owes. Until the client has read that
end, which may be behind megabytes of answers or in front of a busy browser, it takes the stream for
open: if it asks for something else meanwhile, it listens in vain, because Gradio has nothing to
tell it so. Therefore the server tells a client that its question was accepted only once the client
has read the end of its last stream; Gradio's clients show that by hanging up. Then they open the
next. Now and then one fails to hang up (seen in Node.js), so the server waits only briefly: a
client that reads the end later than that may still miss an answer.
"""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from starlette.types import Message, Receive, Send

from serving import internals

KNOCK = 0.25  # seconds between two comments, which let a proxy notice that the client has left
KNOCKS = 8  # comments after which a client that has not left is given up: 2 s


class Streams:
    """The streams of all sessions whose ends were sent and may not have been read."""

    def __init__(self) -> None:
        self._unread: dict[str, asyncio.Event] = {}  # set when the client has read the end

    async def end_is_read(self, session: str) -> None:
        """Wait until a session's client has read the end of its last stream, if that was sent."""
        if read := self._unread.get(session):
            await read.wait()

    @contextmanager
    def opened(self, session: str, send: Send, receive: Receive) -> Iterator[Send]:
        """A context in which a session's stream is sent with the function that it yields.

        After the end, the response stays open until the client leaves.
        """
        if before := self._unread.pop(session, None):
            before.set()  # a client with an open stream opens no other
        read: asyncio.Event | None = None

        async def send_stream(message: Message) -> None:
            nonlocal read
            if internals.ends_stream(message):
                read = self._unread[session] = asyncio.Event()
            elif read and not message.get("more_body"):
                await _until_left(send, receive)
            await send(message)

        try:
            yield send_stream
        finally:
            if read:
                read.set()
                if self._unread.get(session) is read:
                    del self._unread[session]


async def _until_left(send: Send, receive: Receive) -> None:
    for _ in range(KNOCKS):
        with suppress(TimeoutError):
            async with asyncio.timeout(KNOCK):
                while (await receive())["type"] != "http.disconnect":
                    pass
                return
        # Some proxies notice only when they next write to a client that it has left.
        await send({"type": "http.response.body", "body": b":\n\n", "more_body": True})
