"""The routes of the Open Inference Protocol: health and metadata from memory, predictions over the data plane."""

import asyncio
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import TypeVar

from pydantic import BaseModel

from services.gateway.open_inference.answers import answer_of, packed
from services.gateway.open_inference.bodies import Body, InferenceBodies
from services.gateway.open_inference.data_plane import DataPlane, NobodyServes
from services.gateway.open_inference.deferral import PREFER, Deferral, wants_no_wait
from services.gateway.open_inference.protocol import STATISTICS, Answer, Call, ProtocolRoute, json_answer
from shared import frames, observe, oip
from shared.body_pool import NotHere
from shared.bus import Bus
from shared.context import Context
from shared.errors import AimassError, DeadlineExceeded, InvalidInput, NotFound, Unavailable
from shared.permissions import Permission
from shared.rpc.base import Request
from shared.rpc.inference import GetInferenceStatistics, GetModelConfiguration, GetServedModel, ServedModel
from shared.rpc.registry import GetModel
from shared.sharing import credential
from shared.signatures import model_metadata

SERVER = "aimass"
VERSION = "1"
TIMEOUT = b"x-request-timeout-ms"
ACCEPT_ENCODING = b"accept-encoding"
MODEL = "/v2/models/{model}"
VERSIONED = "/v2/models/{model}/versions/{version}"
Reply_co = TypeVar("Reply_co", bound=BaseModel, covariant=True)


class InferenceRoutes:
    """Answers clients of the protocol."""

    def __init__(
        self,
        plane: DataPlane,
        bodies: InferenceBodies,
        deferral: Deferral,
        bus: Bus,
        keys_problem: Callable[[], str],
        seconds: float,
        seconds_max: float,
    ) -> None:
        self._plane, self._bodies, self._deferral = plane, bodies, deferral
        self._bus = bus
        self._keys_problem = keys_problem
        self._seconds, self._seconds_max = seconds, seconds_max

    def routes(self) -> list[ProtocolRoute]:
        read, infer = Permission.MODELS_READ, Permission.INFER
        return [
            ProtocolRoute("GET", "/v2/health/live", None, self.live),
            ProtocolRoute("GET", "/v2/health/ready", None, self.ready),
            ProtocolRoute("GET", "/v2", read, self.server),
            ProtocolRoute("GET", MODEL, read, self.model),
            ProtocolRoute("GET", VERSIONED, read, self.model),
            ProtocolRoute("GET", f"{MODEL}/ready", read, self.model_ready),
            ProtocolRoute("GET", f"{VERSIONED}/ready", read, self.model_ready),
            ProtocolRoute("GET", STATISTICS, read, self.statistics),
            ProtocolRoute("GET", f"{MODEL}/stats", read, self.statistics),
            ProtocolRoute("GET", f"{VERSIONED}/stats", read, self.statistics),
            ProtocolRoute("GET", f"{MODEL}/config", read, self.configuration),
            ProtocolRoute("GET", f"{VERSIONED}/config", read, self.configuration),
            ProtocolRoute("POST", f"{MODEL}/infer", infer, self.infer, predicts=True),
            ProtocolRoute("POST", f"{VERSIONED}/infer", infer, self.infer, predicts=True),
        ]

    async def live(self, _: Call) -> Answer:
        return json_answer({"live": True})

    async def ready(self, _: Call) -> Answer:
        problem = self._keys_problem() or await self._plane.problem()
        return json_answer({"ready": not problem}, 503 if problem else 200)

    async def server(self, _: Call) -> Answer:
        return json_answer(oip.server_metadata(SERVER, VERSION))

    async def model(self, call: Call) -> Answer:
        served = await self._served(call)
        versions = [str(version) for version in served.versions]
        return json_answer(model_metadata(call.model, versions, served.signature))

    async def model_ready(self, call: Call) -> Answer:
        served = await self._served(call)
        if not served.ready:
            raise Unavailable(f"model '{call.model}' is not ready now; try again")
        return json_answer({"name": call.model, "ready": True})

    async def statistics(self, call: Call) -> Answer:
        project, model, version = call.project, call.model or None, _version(call)
        ask = GetInferenceStatistics(project=project, model=model, version=version)
        return json_answer((await self._ask(ask, call)).model_dump())

    async def configuration(self, call: Call) -> Answer:
        ask = GetModelConfiguration(project=call.project, model=call.model, version=_version(call))
        return json_answer((await self._ask(ask, call)).config)

    async def infer(self, call: Call) -> Answer:
        if (prefer := call.headers.get(PREFER)) is not None and wants_no_wait(prefer):
            return await self._accept(call)
        given = self.given_seconds(call.headers)
        seconds = given or self._seconds
        started = time.monotonic()
        try:
            if call.is_whole:
                body = await self._bodies.take(call)
            else:
                async with asyncio.timeout(seconds):
                    body = await self._bodies.take(call)
            try:
                seconds = self._seconds_of(body, given)
                reply = await self._reply(call, body, started + seconds)
            finally:
                self._bodies.release(call, body)
        except TimeoutError:
            raise overdue(seconds) from None
        return await self.answer_to(call, reply)

    def _seconds_of(self, body: Body, given: float | None) -> float:
        """How long a prediction may take, by its head and by its parameter `timeout`."""
        if timeout := body.timeout():
            return min(timeout, given or self._seconds_max)
        return given or self._seconds

    async def answer_to(self, call: Call, reply: frames.Reply) -> Answer:
        """The answer that a reply is, wherever its body lies, as the caller likes it."""
        answer = answer_of(await self._bodies.fetch(reply) if reply.is_claimed else reply)
        accepted = call.headers.get(ACCEPT_ENCODING)
        return answer if accepted is None else await packed(answer, accepted)

    async def nobody(self, call: Call) -> Answer:
        """Raises why nobody serves the model."""
        raise await self._why_nobody(call)

    def request_of(
        self, call: Call, data: bytes, header_length: int | None, given: float | None
    ) -> tuple[frames.Request, float]:
        """What is sent of a call whose body is small and here, and the seconds that it may take."""
        body = self._bodies.whole(call, data, header_length)
        seconds = self._seconds_of(body, given)
        return _request(call, body, seconds), seconds

    async def _accept(self, call: Call) -> Answer:
        """What is accepted is of who asks, whoever's the model is."""
        context = replace(self._context(call), project=call.principal.project)
        try:
            return await self._deferral.accept(call, context, self._seconds_max)
        except TimeoutError:
            raise DeadlineExceeded(f"the body did not arrive within {self._seconds_max:g} s") from None

    async def _reply(self, call: Call, body: Body, until: float) -> frames.Reply:
        reply = await self._sent(call, body, until)
        if reply.status != NotHere.status or body.lease is None:
            return reply
        moved = await self._bodies.move(call, body)
        try:
            return await self._sent(call, moved, until)
        finally:
            self._bodies.release(call, moved)

    async def _sent(self, call: Call, body: Body, until: float) -> frames.Reply:
        seconds = until - time.monotonic()
        try:
            return await self._plane.infer(call.project, call.model, _request(call, body, seconds), seconds)
        except NobodyServes:
            raise await self._why_nobody(call) from None

    def given_seconds(self, headers: Mapping[bytes, bytes]) -> float | None:
        """What X-Request-Timeout-Ms says."""
        given = headers.get(TIMEOUT)
        if given is None:
            return None
        if not given.isdigit() or not 0 < int(given[:10]) <= self._seconds_max * 1000:
            most = int(self._seconds_max * 1000)
            raise InvalidInput(f"X-Request-Timeout-Ms must be a whole number of milliseconds from 1 to {most}")
        return int(given) / 1000

    async def _served(self, call: Call) -> ServedModel:
        ask = GetServedModel(project=call.project, model=call.model, version=_version(call))
        return await self._ask(ask, call)

    async def _ask(self, ask: Request[Reply_co], call: Call) -> Reply_co:
        """What inference says; a model that it does not know may still exist."""
        try:
            return await self._bus.ask(ask, self._context(call))
        except NotFound as error:
            raise (error if call.version else await self._why_nobody(call)) from None

    async def _why_nobody(self, call: Call) -> AimassError:
        """The model is unknown, or known and not served now."""
        try:
            await self._bus.ask(GetModel(model=call.model), self._context(call), seconds=2)
        except NotFound:
            return NotFound(f"there is no model '{call.model}'")
        except AimassError as error:
            observe.log().warning("registry cannot say whether the model exists", error=error.message)
        return Unavailable(f"model '{call.model}' is not served now; try again")

    def _context(self, call: Call) -> Context:
        trace = call.traceparent or call.header(b"traceparent")
        return Context(project=call.project, actor=call.principal.key_id, traceparent=trace)


def overdue(seconds: float) -> DeadlineExceeded:
    return DeadlineExceeded(f"the prediction did not come within {seconds:g} s")


def _request(call: Call, body: Body, seconds: float) -> frames.Request:
    sent, flag = body.sent()
    return frames.Request(
        call.prediction_id,
        int((time.time() + seconds) * 1000),
        sent,
        body.header_length,
        flag,
        traceparent=call.traceparent,
        credential=credential(call.principal.project, call.principal.key_id, call.project),
        version=call.version,
    )


def _version(call: Call) -> int | None:
    return int(call.version) if call.version else None
