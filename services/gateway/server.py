"""The HTTP server: uvicorn on one listener, which drains when the service does."""

import asyncio
import os
import socket

import uvicorn
from starlette.types import ASGIApp, Receive, Scope, Send

from services.gateway.corked import CorkedProtocol
from services.gateway.open_inference.protocol import ROOT
from services.gateway.settings import Settings
from services.gateway.sse import Followers
from shared.ops.server import Server

KEEP_ALIVE_SECONDS = 75


class Edge:
    """Everything that comes over HTTP goes one of two ways."""

    def __init__(self, control: ASGIApp, inference: ASGIApp) -> None:
        self._control, self._inference = control, inference

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        path: str = scope["path"]
        is_inference = path == ROOT or path.startswith(f"{ROOT}/")
        await (self._inference if is_inference else self._control)(scope, receive, send)


class HttpServer:
    """Serves until it is closed; then finishes what is in flight, within `drain_seconds`."""

    def __init__(self, settings: Settings, app: ASGIApp, followers: Followers) -> None:
        self._address, self._given = (settings.host, settings.port), settings.listener
        self._followers = followers
        self._ended = asyncio.Event()
        self._server = Server(
            uvicorn.Config(
                app,
                http=CorkedProtocol,
                ws="wsproto",
                ws_max_size=4096,
                lifespan="off",
                access_log=False,
                log_level="warning",
                server_header=False,
                proxy_headers=False,
                timeout_keep_alive=KEEP_ALIVE_SECONDS,
                timeout_graceful_shutdown=max(1, int(settings.drain_seconds)),
            )
        )

    async def serve(self) -> None:
        listener = self._listener()
        listener.setblocking(False)
        self._ended.clear()
        try:
            await self._server.serve(sockets=[listener])
        finally:
            self._ended.set()

    def _listener(self) -> socket.socket:
        """Connections to one that was given wait for the next gateway when this one ends."""
        if self._given is None:
            return socket.create_server(self._address, backlog=1024)
        return socket.socket(fileno=os.dup(self._given))

    async def close(self) -> None:
        self._followers.stop()
        self._server.stop()
        if self._server.started:
            await self._ended.wait()
