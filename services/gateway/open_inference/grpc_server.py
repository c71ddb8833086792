"""The Open Inference Protocol over gRPC: each call is answered as the same request over HTTP, by the same routes."""

import asyncio
import json
import time
from collections.abc import AsyncIterator
from functools import partial
from typing import Any

import grpc
from starlette.types import Message
from tritonclient.grpc import service_pb2 as pb

from services.gateway import metrics
from services.gateway.limits import addresses
from services.gateway.open_inference.bodies import HEADER_LENGTH
from services.gateway.open_inference.grpc_conversion import encode_request
from services.gateway.open_inference.grpc_methods import METHODS, SERVICE, STREAM, UNARY, request_class, response_class
from services.gateway.open_inference.protocol import Answer, Call, InferenceProtocol
from services.gateway.open_inference.routes import TIMEOUT
from services.gateway.settings import Settings
from shared import observe
from shared.tls import Pair, server_context

CODES = {
    200: grpc.StatusCode.OK,
    400: grpc.StatusCode.INVALID_ARGUMENT,
    401: grpc.StatusCode.UNAUTHENTICATED,
    403: grpc.StatusCode.PERMISSION_DENIED,
    404: grpc.StatusCode.NOT_FOUND,
    409: grpc.StatusCode.FAILED_PRECONDITION,
    413: grpc.StatusCode.RESOURCE_EXHAUSTED,
    429: grpc.StatusCode.RESOURCE_EXHAUSTED,
    503: grpc.StatusCode.UNAVAILABLE,
    504: grpc.StatusCode.DEADLINE_EXCEEDED,
}
FORWARDED_FOR = addresses.FORWARDED_FOR.decode()
NOT_LET_IN = frozenset({401, 403})
PASSED_ON = ("authorization", "traceparent")
GIVEN_BACK = (b"x-prediction-id", b"retry-after", b"ratelimit", b"ratelimit-policy")
FINAL = "triton_final_response"
LONGEST_DETAILS = 2000
STREAM_WINDOW = 32
LIMITS = (
    ("grpc.so_reuseport", 0),
    ("grpc.max_metadata_size", 16 * 1024),
    ("grpc.absolute_max_metadata_size", 32 * 1024),
    ("grpc.max_concurrent_streams", 1000),
    ("grpc.http2.min_ping_interval_without_data_ms", 10_000),
    ("grpc.server_handshake_timeout_ms", 10_000),
)


class GrpcInference:
    """Serves GRPCInferenceService with the routes of HTTP."""

    def __init__(self, protocol: InferenceProtocol, seconds: float, seconds_max: float) -> None:
        self._protocol = protocol
        self._seconds, self._seconds_max = seconds, seconds_max
        self._reading: set[asyncio.Task[None]] = set()

    def handler(self) -> Any:
        methods = {
            name: grpc.unary_unary_rpc_method_handler(partial(self._answer, name), **_serializers(name))
            for name in UNARY
        }
        methods[STREAM] = grpc.stream_stream_rpc_method_handler(self._stream, **_serializers(STREAM))
        return grpc.method_handlers_generic_handler(SERVICE.full_name, methods)

    def end_streams(self) -> None:
        """Read no more requests from streams; they end when what was read is answered."""
        for reading in self._reading:
            reading.cancel()

    async def _answer(self, name: str, request: Any, context: Any) -> Any:
        answer = await self._ask(name, request, context, self._seconds_max)
        if _code(name, answer) is not grpc.StatusCode.OK:
            await _refuse(name, answer, context)
        context.set_trailing_metadata(_metadata(answer))
        return METHODS[name].read(answer)

    async def _stream(self, requests: AsyncIterator[Any], context: Any) -> None:
        """Answer in the order of the requests, of which some are under way at once."""
        try:
            async with asyncio.TaskGroup() as group:
                reading = group.create_task(self._read(requests, context, group))
                self._reading.add(reading)
                reading.add_done_callback(self._reading.discard)
        except* grpc.aio.AbortError as refused:
            observe.log().debug("stream refused", error=repr(refused.exceptions[0]))

    async def _read(self, requests: AsyncIterator[Any], context: Any, group: asyncio.TaskGroup) -> None:
        window = asyncio.Semaphore(STREAM_WINDOW)
        before: asyncio.Task[None] | None = None
        async for request in requests:
            await window.acquire()
            before = group.create_task(self._respond(request, context, before))
            before.add_done_callback(lambda _: window.release())

    async def _respond(self, request: Any, context: Any, before: "asyncio.Task[None] | None") -> None:
        answer = await self._ask(STREAM, request, context, self._seconds)
        if before is not None:
            await before
        if answer.status in NOT_LET_IN:
            await _refuse(STREAM, answer, context)
        await context.write(_streamed(request, answer))

    def _address(self, context: Any) -> str:
        given = context.invocation_metadata()
        forwarded = [(key.encode(), value.encode()) for key, value in given if key == FORWARDED_FOR]
        return self._protocol.limits.origins.seen(addresses.of_grpc(context.peer()), forwarded)

    async def _ask(self, name: str, request: Any, context: Any, most_seconds: float) -> Answer:
        started = time.perf_counter()
        code = grpc.StatusCode.CANCELLED
        try:
            call = _call(name, request, context, most_seconds)
            call.address = self._address(context)
            answer = await self._protocol.answer(METHODS[name].verb, call)
            code = _code(name, answer)
            return answer
        finally:
            metrics.GRPC_SECONDS.observe((name, code.name), time.perf_counter() - started)


def _call(name: str, request: Any, context: Any, most_seconds: float) -> Call:
    """The call over HTTP that this one is; its request is converted when it is read, which is after it was let in."""
    given = dict(context.invocation_metadata())
    headers = {key.encode(): given[key].encode("latin-1", "replace") for key in PASSED_ON if key in given}
    if (left := context.time_remaining()) is not None:
        headers[TIMEOUT] = str(max(1, int(min(left, most_seconds) * 1000))).encode()

    async def receive() -> Message:
        body, header_length = encode_request(request)
        headers[HEADER_LENGTH] = str(header_length).encode()
        return {"type": "http.request", "body": body}

    return Call(receive, headers, *METHODS[name].target(request), operation=f"{SERVICE.full_name}/{name}")


def _serializers(method: str) -> dict[str, Any]:
    return {
        "request_deserializer": request_class(method).FromString,
        "response_serializer": response_class(method).SerializeToString,
    }


def _code(name: str, answer: Answer) -> Any:
    if answer.status in METHODS[name].no:
        return grpc.StatusCode.OK
    return CODES.get(answer.status, grpc.StatusCode.INTERNAL)


def _streamed(request: Any, answer: Answer) -> Any:
    if answer.status != 200:
        return pb.ModelStreamInferResponse(error_message=_details(answer), infer_response={"id": request.id})
    response = METHODS[STREAM].read(answer)
    response.parameters[FINAL].bool_param = True
    return pb.ModelStreamInferResponse(infer_response=response)


async def _refuse(name: str, answer: Answer, context: Any) -> None:
    """Raises AbortError."""
    await context.abort(_code(name, answer), _details(answer), _metadata(answer))


def _metadata(answer: Answer) -> tuple[tuple[str, str], ...]:
    return tuple((name.decode(), value.decode()) for name, value in answer.headers if name in GIVEN_BACK)


def _details(answer: Answer) -> str:
    message: str = json.loads(bytes(answer.body))["error"]
    return message.encode()[:LONGEST_DETAILS].decode(errors="ignore")


def _credentials(settings: Settings) -> Any:
    """TLS where it is set, with a look for another certificate at each connection that is made."""
    if not (settings.tls_cert and settings.tls_key):
        return None
    pair = Pair(settings.tls_cert, settings.tls_key)

    def found() -> Any:
        return grpc.ssl_server_certificate_configuration([(pair.key.read_bytes(), pair.certificate.read_bytes())])

    def another() -> Any:
        if not pair.has_changed():
            return None
        try:
            server_context(pair.certificate, pair.key)
        except OSError as error:
            observe.log().warning("the new certificate is not used", error=str(error))
            return None
        return found()

    return grpc.dynamic_ssl_server_credentials(found(), another)


class GrpcServer:
    """Serves until it is closed; then finishes what is in flight, within `drain_seconds`."""

    def __init__(self, settings: Settings, protocol: InferenceProtocol) -> None:
        self._address = f"{settings.host}:{settings.grpc_port}"
        self._drain_seconds, self._most_bytes = settings.drain_seconds, settings.infer_bytes
        self._inference = GrpcInference(protocol, settings.infer_seconds, settings.infer_seconds_max)
        self._server: Any = None
        self._tls = _credentials(settings)

    async def serve(self) -> None:
        options = (*LIMITS, ("grpc.max_receive_message_length", self._most_bytes))
        self._server = grpc.aio.server(handlers=[self._inference.handler()], options=options)
        if self._tls is None:
            self._server.add_insecure_port(self._address)
        else:
            self._server.add_secure_port(self._address, self._tls)
        await self._server.start()
        await self._server.wait_for_termination()

    async def close(self) -> None:
        self._inference.end_streams()
        if self._server is not None:
            await self._server.stop(self._drain_seconds)
