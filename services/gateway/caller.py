"""Caller: what a route of the control API works with — who asks, and the way to ask the services."""

import time
from copy import copy
from dataclasses import dataclass
from typing import Annotated, Any, TypeVar

from fastapi import Depends
from pydantic import BaseModel
from pydantic_core import PydanticSerializationError
from starlette.requests import HTTPConnection
from starlette.responses import Response

from services.gateway.access import Gatekeeper, authorise
from services.gateway.credentials import Principal
from services.gateway.limits.rules import models_in
from services.gateway.operations import OpsPorts
from services.gateway.predict.predictor import Predictor
from services.gateway.sse import Followers
from services.gateway.uploads import Uploads
from shared import observe
from shared.body_store import BodyStore
from shared.bus import RPC_SECONDS, Bus
from shared.context import Context
from shared.errors import InvalidInput
from shared.permissions import Permission
from shared.phonemes import Phonemes
from shared.reading import StreamReader
from shared.rpc.base import Request as RpcRequest
from shared.sharing import Level, called

Answer = TypeVar("Answer", bound=BaseModel)


@dataclass(frozen=True)
class Edges:
    """What the routes reach."""

    bus: Bus
    gatekeeper: Gatekeeper
    followers: Followers
    events: StreamReader
    logs: StreamReader
    uploads: Uploads
    ops_ports: OpsPorts
    deferred: BodyStore
    predictor: Predictor
    phonemes: Phonemes


class Caller:
    """The owner of the key or token that came with this request."""

    def __init__(self, request: HTTPConnection) -> None:
        self.edges: Edges = request.app.state.edges
        self.principal: Principal = request.state.principal
        self.project: str = self.principal.project
        self._correlation_id: str = request.state.correlation_id
        self.address: str = request.state.address[:64]

    def is_still_known(self) -> bool:
        return self.edges.gatekeeper.is_valid(self.principal)

    def at(self, name: str, level: Level = "read") -> tuple["Caller", str]:
        """Who asks about a model of the own project, or about one of another that is shared, and its name there.

        Raises NotFound for one that is not shared.
        """
        if "." not in name:
            return self, name
        there = copy(self)
        there.project, model = self.edges.gatekeeper.reach(self.principal, name, level)
        return there, model

    def may_infer(self, model: str) -> str:
        """What this project calls a model that is asked for predictions.

        Raises Forbidden for who may not ask for them, NotFound for a model that is not shared for them.
        """
        authorise(self.principal, Permission.INFER, model)
        there, name = self.at(model, "infer")
        return called(self.project, there.project, name)

    async def ask(
        self,
        request: "RpcRequest[Answer]",
        *,
        service: str | None = None,
        idempotency_key: str = "",
        seconds: float = RPC_SECONDS,
    ) -> Answer:
        """Ask a service in the name of the caller.

        Raises Forbidden for a request that names a model which his key is not for.
        """
        context = self._context(request, seconds, idempotency_key)
        try:
            return await self.edges.bus.ask(request, context, service=service, seconds=seconds)
        except PydanticSerializationError:
            message = "the text holds characters that are not valid Unicode, or is nested too deep"
            raise InvalidInput(message, field="body") from None

    async def pass_on(self, request: "RpcRequest[Any]", *, service: str) -> Response:
        """The answer of a service as it wrote it, unread: for long ones; raises as `ask` does."""
        body = await self.edges.bus.ask_unread(request, self._context(request, RPC_SECONDS), service)
        return Response(body, media_type="application/json")

    def _context(self, request: "RpcRequest[Any]", seconds: float, idempotency_key: str = "") -> Context:
        if (rules := self.principal.rules) is not None and rules.models:
            for model in models_in(request.model_dump()):
                rules.check_model(model)
        return Context(
            project=self.project,
            actor=self.principal.key_id,
            correlation_id=self._correlation_id,
            traceparent=observe.current_traceparent(),
            deadline=time.time() + seconds,
            idempotency_key=idempotency_key,
        )


async def _caller(request: HTTPConnection) -> Caller:
    """FastAPI takes a thread for what is no coroutine, a class too."""
    return Caller(request)


CallerOf = Annotated[Caller, Depends(_caller)]
