"""A request's body on its way to the app: not too large, and not too slow."""

import asyncio
import time
from collections.abc import Awaitable, Callable

from starlette.types import Message, Receive

from serving.messages import Refused

BODY_TIME = 15.0  # seconds within which any body may arrive
BODY_RATE = 16_000  # bytes per second at which a larger one must arrive
LINGER = 2.0  # seconds for which a refused client may keep sending, so that it sees the answer


class Body:
    """A request's body as it arrives.

    Attributes
    ----------
    size
        Bytes that have arrived.
    left
        Whether the client disconnected before the end.
    refused
        Why the rest is not read.
    read_along
        Gets each chunk, and the number of bytes so far; may raise `Refused`.
    """

    def __init__(self, receive: Receive, limit: int) -> None:
        """Limit a body to so many bytes."""
        self._receive = receive
        self._limit = limit
        self._start = time.monotonic()
        self._whole = False
        self.size = 0
        self.left = False
        self.refused: Refused | None = None
        self.read_along: Callable[[bytes, int], Awaitable[None]] | None = None

    async def receive(self) -> Message:
        """The next chunk; to the app, a refused client looks disconnected."""
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
        part = message.get("body", b"")
        self.size += len(part)
        self._whole = not message.get("more_body", False)
        try:
            if self.size > self._limit:
                raise too_large(self._limit)
            if self.read_along:
                await self.read_along(part, self.size)
        except Refused as error:
            self.refused = error
            return {"type": "http.disconnect"}
        return message

    async def discard(self) -> None:
        """Keep reading for a moment, without storing anything."""
        try:
            async with asyncio.timeout(LINGER):
                while not (self._whole or self.left):
                    message = await self._receive()
                    self.left = message["type"] == "http.disconnect"
                    self._whole = not message.get("more_body", False)
        except TimeoutError:
            pass


def too_large(limit: int) -> Refused:
    """The refusal of a body with more bytes than the limit."""
    size = f"{limit / 1e6:.0f} MB" if limit >= 1_000_000 else f"{limit / 1000:.0f} kB"
    return Refused(413, "size", values={"size": size})
