"""Time limits for connections, below HTTP, where uvicorn has none."""

import asyncio
import json

import h11

from serving import metrics, routes
from serving.internals import STATUS_PHRASES, H11Protocol
from serving.messages import Translate

HEADERS_TIME = 10.0  # seconds within which a request's head must arrive
REST_TIME = 5.0  # seconds for the rest of a body that has been answered already
STALLED_TIME = 30.0  # seconds for which a client may leave an answer unread


class Connection(H11Protocol):
    """A connection that is closed if its request stalls or its answer is not read.

    It uses h11 rather than the faster httptools, because h11 limits the size of a request's head;
    that costs a millisecond per request.
    """

    # Both are set where the server is configured: uvicorn makes the connections itself.
    limit = 1000  # connections at a time
    translate: Translate

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Start waiting for a request."""
        self._head_timer: asyncio.TimerHandle | None = None
        self._stall_timer: asyncio.TimerHandle | None = None
        self._rest_timer: asyncio.TimerHandle | None = None
        super().connection_made(transport)
        if len(self.connections) > self.limit:
            self._refuse(503, "connections")
        else:
            self._await_head()

    def data_received(self, data: bytes) -> None:
        """Take data; a request's head must be complete in time."""
        super().data_received(data)
        if self.conn.their_state is not h11.SEND_BODY:
            self._stop("_rest_timer")
        if self.transport.is_closing() or self.conn.their_state is not h11.IDLE:
            self._stop("_head_timer")
        else:
            self._await_head()

    def on_response_complete(self) -> None:
        """Wait for the next request, which may have begun to arrive."""
        super().on_response_complete()
        if self.transport.is_closing():
            # Otherwise the rest of the answer could stay unread for ever.
            self.loop.call_later(STALLED_TIME, self.transport.abort)
        elif self.conn.their_state is h11.SEND_BODY:
            # uvicorn would go on reading for as long as data arrives.
            self._rest_timer = self.loop.call_later(REST_TIME, self.transport.abort)
        elif self.conn.their_state is h11.IDLE and self.conn.trailing_data[0]:
            self._await_head()

    def connection_lost(self, exc: Exception | None) -> None:
        """Stop all timers."""
        self._stop("_head_timer")
        self._stop("_stall_timer")
        self._stop("_rest_timer")
        super().connection_lost(exc)

    def pause_writing(self) -> None:
        """The client is not reading: wait for it, but not for ever."""
        super().pause_writing()
        if self._stall_timer is None:
            self._stall_timer = self.loop.call_later(STALLED_TIME, self._give_up)

    def resume_writing(self) -> None:
        """The client reads again."""
        self._stop("_stall_timer")
        super().resume_writing()

    def send_400_response(self, msg: str) -> None:
        """Refuse what is not valid HTTP."""
        unread, _ = self.conn.trailing_data
        if len(unread) > routes.HEADERS_LIMIT:
            self._refuse(431, "headers")
        else:
            self._refuse(400, "not_http")

    def _await_head(self) -> None:
        if self._head_timer is None:
            self._head_timer = self.loop.call_later(
                HEADERS_TIME, self._refuse, 408, "slow_body", "slow_headers"
            )

    def _stop(self, name: str) -> None:
        timer = getattr(self, name)
        if timer is not None:
            timer.cancel()
            setattr(self, name, None)

    def _give_up(self) -> None:
        metrics.REFUSED.labels("unread_answer").inc()
        self.transport.abort()

    def _refuse(self, status: int, key: str, reason: str | None = None) -> None:
        metrics.REFUSED.labels(reason or key).inc()
        if self.transport.is_closing():
            return
        # The visitor's language is not known yet.
        message = type(self).translate({"query_string": b"", "headers": []}, key, {})
        body = json.dumps({"detail": message}).encode()
        self.transport.write(
            b"HTTP/1.1 %d %s\r\ncontent-type: application/json\r\ncontent-length: %d\r\n"
            b"x-content-type-options: nosniff\r\nconnection: close\r\n\r\n%s"
            % (status, STATUS_PHRASES[status], len(body), body)
        )
        self.transport.close()
        self.loop.call_later(STALLED_TIME, self.transport.abort)
