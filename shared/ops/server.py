"""The ops port of a service: its page for operators and what stands on it, health, readiness, metrics, AsyncAPI."""

import asyncio
import socket
from collections.abc import Awaitable, Callable
from contextlib import nullcontext, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import uvicorn
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import FileResponse, JSONResponse, Response
from starlette.routing import Route

from shared.ops import asyncapi
from shared.ops.readiness import Readiness
from shared.ops.status import Table, describe
from shared.ops.window import Window
from shared.settings import ServiceSettings
from shared.streams import Declaration

TICK_SECONDS = 1.0
PAGES = Path(__file__).parent / "pages"
CSP = (
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src data:; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
HEADERS = {"Content-Security-Policy": CSP, "X-Content-Type-Options": "nosniff", "Cache-Control": "no-store"}
FILES = {
    "/": ("status.html", "text/html"),
    "/asyncapi": ("asyncapi.html", "text/html"),
    "/status.js": ("status.js", "text/javascript"),
    "/asyncapi.js": ("asyncapi.js", "text/javascript"),
    "/ops.css": ("ops.css", "text/css"),
}


@dataclass(frozen=True)
class Operations:
    """What the ops port shows; `dead_letters` counts this service's, or answers None when the bus is away.

    `tables` are what it alone has to show, ready at any time.
    """

    readiness: Readiness
    declaration: Declaration
    dead_letters: Callable[[], Awaitable[int | None]]
    pool_size: int = 0
    tables: Callable[[], list[Table]] = list

    def app(self) -> Starlette:
        answers = {
            "/healthz": self._healthz,
            "/readyz": self._readyz,
            "/metrics": self._metrics,
            "/status": self._status,
            "/asyncapi.json": self._asyncapi,
        }
        routes = [Route(path, answer) for path, answer in answers.items()]
        app = Starlette(routes=[*routes, *(_file(path, *what) for path, what in FILES.items())])
        app.state.window = Window()
        return app

    async def _healthz(self, _: Request) -> Response:
        return JSONResponse({"service": self.readiness.service, "alive": True})

    async def _readyz(self, _: Request) -> Response:
        problems = self.readiness.problems()
        body = {"service": self.readiness.service, "ready": not problems, "problems": problems}
        body |= {"degraded": self.readiness.minor_problems()}
        return JSONResponse(body, status_code=503 if problems else 200)

    async def _metrics(self, _: Request) -> Response:
        return Response(generate_latest(), media_type=CONTENT_TYPE_LATEST)

    async def _status(self, request: Request) -> Response:
        dead_letters = await self.dead_letters()
        status = describe(self.readiness, self.pool_size, dead_letters, request.app.state.window.change())
        status.tables = self.tables()
        return Response(status.model_dump_json(), headers=HEADERS, media_type="application/json")

    async def _asyncapi(self, _: Request) -> Response:
        return JSONResponse(asyncapi.document(self.declaration), headers=HEADERS)


def _file(path: str, name: str, media_type: str) -> Route:
    async def answer(_: Request) -> Response:
        return FileResponse(PAGES / name, headers=HEADERS, media_type=media_type)

    return Route(path, answer)


class Server(uvicorn.Server):
    """uvicorn without signal handlers of its own, and awake once a second only: the service decides when it stops."""

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self._stopped = asyncio.Event()

    def stop(self) -> None:
        """Finish what is in flight, and end."""
        self.should_exit = True
        self._stopped.set()

    async def main_loop(self) -> None:
        while not await self.on_tick(0):
            with suppress(TimeoutError):
                async with asyncio.timeout(TICK_SECONDS):
                    await self._stopped.wait()

    def capture_signals(self) -> Any:
        return nullcontext()


async def serve_ops(settings: ServiceSettings, operations: Operations) -> None:
    config = uvicorn.Config(operations.app(), log_level="warning", lifespan="off", access_log=False)
    listener = socket.create_server((settings.ops_host, settings.ops_port))
    listener.setblocking(False)
    await Server(config).serve(sockets=[listener])
