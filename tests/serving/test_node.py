"""Pages that Node renders, with a stand-in for Node."""

import asyncio
from typing import Any

import pytest

from serving import internals, node

HEAD = b"HTTP/1.1 200 OK\r\nContent-Length: 8\r\n\r\n"
ASKED = {"method": "GET", "path": "/", "raw_path": b"/", "query_string": b"", "headers": []}


async def answer_once(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Answer the first request; the connection ends just when another one arrives over it."""
    await reader.readuntil(b"\r\n\r\n")
    writer.write(HEAD + b"rendered")
    await writer.drain()
    await reader.read(1)
    writer.close()


def test_a_page_is_rendered_though_node_closes_its_connections(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def app(*_: object) -> None:
        pytest.fail("the browser has to render the page")

    async def ask_three_times() -> list[bytes]:
        bodies: list[bytes] = []

        async def send(message: dict[str, Any]) -> None:
            bodies.extend([message["body"]] if "body" in message else [])

        async with await asyncio.start_server(answer_once, "127.0.0.1", 0) as server:
            port = server.sockets[0].getsockname()[1]
            monkeypatch.setattr(internals, "start_node", lambda *_: ("a process", port))
            pages = node.NodePages(app)
            pages.start("127.0.0.1", 0, "a token", [])
            for _ in range(3):
                await pages({"type": "http", **ASKED}, None, send)  # type: ignore[arg-type]
        return bodies

    assert asyncio.run(ask_three_times()) == [b"rendered"] * 3
