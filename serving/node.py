"""Pages rendered by Node, which stands behind the guard and is asked only for pages."""

import asyncio
import os
from collections.abc import Sequence
from pathlib import Path
from subprocess import Popen

import httpx
from starlette.types import ASGIApp, Receive, Scope, Send

from serving import internals, log, routes

IMPORTED = Path(__file__).parent / "node.mjs"  # imported by Node before it renders pages
SECONDS = 20.0  # seconds for Node to render a page
# Headers of the connection, not of the page: RFC 9110, section 7.6.1.
HOP_BY_HOP = {
    b"connection",
    b"keep-alive",
    b"transfer-encoding",
    b"te",
    b"upgrade",
    b"content-length",
}


class NodePages:
    """ASGI middleware that lets Node, if it runs, render pages; the app answers everything else.

    Gradio would start Node in front of Python. Node would then receive the visitors' connections,
    with its own limits, and the guard would see only one client.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app
        self._client: httpx.AsyncClient | None = None

    def start(
        self, host: str, python_port: int, token: str, imports: Sequence[Path]
    ) -> "Popen[bytes] | None":
        """Start Node; without Node, browsers render the page.

        Parameters
        ----------
        host, python_port
            Where this process can be reached.
        token
            The secret by which the guard recognises Node's own requests.
        imports
            Modules that Node imports before it renders pages.
        """
        given = " ".join(f"--import {module.as_uri()}" for module in (*imports, IMPORTED))
        options = " ".join((os.environ.get("NODE_OPTIONS", ""), given)).strip()
        before = {name: os.environ.get(name) for name in ("NODE_OPTIONS", "PETSCOPE_TOKEN")}
        # Gradio starts Node with this process's environment, and takes no options for it.
        os.environ.update(NODE_OPTIONS=options, PETSCOPE_TOKEN=token)
        try:
            process, port = internals.start_node(host, python_port)
        finally:
            for name, value in before.items():
                os.environ.pop(name, None)
                if value is not None:
                    os.environ[name] = value
        if process:
            # A connection for each page: Node would close an idle one just when it is used again,
            # and that page would come without having been rendered.
            self._client = httpx.AsyncClient(
                base_url=f"http://{host}:{port}",
                timeout=SECONDS,
                limits=httpx.Limits(max_keepalive_connections=0),
                trust_env=False,
            )
        return process

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request."""
        if self._client and scope["type"] == "http":
            route = routes.find(scope["method"], scope["path"])
            if route and route.name in ("page", "node"):
                await self._render(self._client, scope, receive, send)
                return
        await self._app(scope, receive, send)

    async def _render(
        self, client: httpx.AsyncClient, scope: Scope, receive: Receive, send: Send
    ) -> None:
        path = scope["raw_path"].decode("ascii")
        query = scope["query_string"].decode("latin-1")
        headers = [pair for pair in scope["headers"] if pair[0] not in HOP_BY_HOP]
        try:
            answer = await client.request(
                scope["method"], f"{path}?{query}" if query else path, headers=headers
            )
        except (httpx.HTTPError, asyncio.CancelledError) as error:
            if isinstance(error, asyncio.CancelledError):
                raise
            log.write("node", failed=type(error).__name__)
            await self._app(scope, receive, send)
            return
        # httpx has already decoded the content.
        dropped = HOP_BY_HOP | {b"content-encoding"}
        kept = [(k.lower(), v) for k, v in answer.headers.raw if k.lower() not in dropped]
        await send(
            {
                "type": "http.response.start",
                "status": answer.status_code,
                "headers": [*kept, (b"content-length", str(len(answer.content)).encode())],
            }
        )
        await send({"type": "http.response.body", "body": answer.content})
