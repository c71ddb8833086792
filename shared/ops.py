"""The ops port of a service: /healthz (the process lives), /readyz (ready, or why not), /metrics (Prometheus)."""

import socket
from contextlib import nullcontext
from typing import Any

import uvicorn
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from shared.settings import ServiceSettings


class Readiness:
    """What each check last said; an empty text means that it is well.

    Only essential checks decide: a data plane that can serve stays ready while a database is down.
    """

    def __init__(self, service: str) -> None:
        self.service = service
        self._problems: dict[str, str] = {"start": "starting"}
        self._minor: dict[str, str] = {}

    def report(self, check: str, problem: str, *, essential: bool = True) -> None:
        (self._problems if essential else self._minor)[check] = problem

    def started(self) -> None:
        """All checks have run once."""
        self._problems.pop("start", None)

    def problems(self) -> dict[str, str]:
        return {check: problem for check, problem in self._problems.items() if problem}

    def minor_problems(self) -> dict[str, str]:
        return {check: problem for check, problem in self._minor.items() if problem}


def _ops_app(readiness: Readiness) -> Starlette:
    async def healthz(_: Request) -> Response:
        return JSONResponse({"service": readiness.service, "alive": True})

    async def readyz(_: Request) -> Response:
        problems = readiness.problems()
        body = {"service": readiness.service, "ready": not problems, "problems": problems}
        body |= {"degraded": readiness.minor_problems()}
        return JSONResponse(body, status_code=503 if problems else 200)

    async def metrics(_: Request) -> Response:
        return Response(generate_latest(), media_type=CONTENT_TYPE_LATEST)

    return Starlette(routes=[Route("/healthz", healthz), Route("/readyz", readyz), Route("/metrics", metrics)])


class Server(uvicorn.Server):
    """uvicorn without signal handlers of its own: the service decides when it stops."""

    def capture_signals(self) -> Any:
        return nullcontext()


async def serve_ops(settings: ServiceSettings, readiness: Readiness) -> None:
    config = uvicorn.Config(_ops_app(readiness), log_level="warning", lifespan="off", access_log=False)
    listener = socket.create_server((settings.ops_host, settings.ops_port))
    listener.setblocking(False)
    await Server(config).serve(sockets=[listener])
