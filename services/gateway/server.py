"""The HTTP server: uvicorn on one listener, which drains when the service does."""

import asyncio
import os
import socket

import uvicorn
from starlette.types import ASGIApp, Receive, Scope, Send

from services.gateway.guarded import GuardedProtocol, limited
from services.gateway.headers import of_server
from services.gateway.open_inference.lane import Lane
from services.gateway.open_inference.protocol import ROOT
from services.gateway.settings import Settings
from services.gateway.shortcut import short
from services.gateway.sse import Followers
from shared import observe
from shared.ops.server import Server
from shared.tls import Pair, server_context

KEEP_ALIVE_SECONDS = 75


class Edge:
    """Everything that comes over HTTP goes one of two ways."""

    def __init__(self, control: ASGIApp, inference: ASGIApp) -> None:
        self._control, self._inference = control, inference

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        path: str = scope["path"]
        is_inference = path == ROOT or path.startswith(f"{ROOT}/")
        await (self._inference if is_inference else self._control)(scope, receive, send)


class EdgeServer(Server):
    """Looks once a second for connections that are late, and for another certificate."""

    def __init__(self, config: uvicorn.Config, pair: Pair | None) -> None:
        super().__init__(config)
        self._pair = pair
        if pair:
            config.load()
            config.ssl = server_context(pair.certificate, pair.key)

    async def on_tick(self, counter: int) -> bool:
        now = asyncio.get_running_loop().time()
        for connection in [*self.server_state.connections]:
            if isinstance(connection, GuardedProtocol):
                connection.end_if_late(now)
        if self._pair and self._pair.has_changed():
            self._read_again(self._pair)
        return await super().on_tick(counter)

    def _read_again(self, pair: Pair) -> None:
        """For connections to come; those that are open go on. A pair that does not fit leaves the old one."""
        try:
            server_context(pair.certificate, pair.key)
        except OSError as error:  # ssl.SSLError is one
            observe.log().warning("the new certificate is not used", error=str(error))
            return
        context = self.config.ssl
        assert context
        context.load_cert_chain(pair.certificate, pair.key)
        observe.log().info("the certificate was read again")


class HttpServer:
    """Serves until it is closed; then finishes what is in flight, within `drain_seconds`."""

    def __init__(self, settings: Settings, app: ASGIApp, followers: Followers, lane: Lane | None = None) -> None:
        self._address, self._given = (settings.host, settings.port), settings.listener
        self._followers = followers
        self._ended = asyncio.Event()
        pair = Pair(settings.tls_cert, settings.tls_key) if settings.tls_cert and settings.tls_key else None
        self._server = EdgeServer(_config(settings, app, lane), pair)

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


def _config(settings: Settings, app: ASGIApp, lane: Lane | None) -> uvicorn.Config:
    return uvicorn.Config(
        app,
        http=short(settings.head_limits, lane) if lane else limited(settings.head_limits),
        ws="wsproto",
        ws_max_size=4096,
        lifespan="off",
        access_log=False,
        log_level="warning",
        server_header=False,
        proxy_headers=False,
        headers=of_server(settings),
        timeout_keep_alive=KEEP_ALIVE_SECONDS,
        timeout_graceful_shutdown=max(1, int(settings.drain_seconds)),
    )
