"""The methods of GRPCInferenceService, each as a route over HTTP and the message that its answer becomes."""

import json
from collections.abc import Callable
from typing import Any, NamedTuple

from google.protobuf.json_format import ParseDict
from google.protobuf.message_factory import GetMessageClass
from tritonclient.grpc import service_pb2 as pb

from services.gateway.open_inference.bodies import HEADER_LENGTH
from services.gateway.open_inference.grpc_conversion import decode_reply
from services.gateway.open_inference.protocol import STATISTICS, Answer
from services.gateway.open_inference.routes import MODEL

SERVICE = pb.DESCRIPTOR.services_by_name["GRPCInferenceService"]
INFER, STREAM = "ModelInfer", "ModelStreamInfer"
NOT_READY = frozenset({404, 503})


class Method(NamedTuple):
    """Where a method leads; statuses that are no error say no, and `of_all` is for a request that names no model."""

    verb: str
    template: str
    read: Callable[[Answer], Any]
    no: frozenset[int] = frozenset()
    of_all: str = ""

    def target(self, request: Any) -> tuple[str, str, str]:
        """The template of the route, the model and the version."""
        model, version = _named(request)
        if self.of_all and not model:
            return self.of_all, "", ""
        template = self.template.replace("{model}", "{model}/versions/{version}") if version else self.template
        return template, model, version


def _named(request: Any) -> tuple[str, str]:
    if isinstance(request, pb.ModelInferRequest):
        return request.model_name, request.model_version
    return getattr(request, "name", ""), getattr(request, "version", "")


def request_class(method: str) -> Any:
    return GetMessageClass(SERVICE.methods_by_name[method].input_type)


def response_class(method: str) -> Any:
    return GetMessageClass(SERVICE.methods_by_name[method].output_type)


def _document(method: str, under: str = "") -> Callable[[Answer], Any]:
    """Read a JSON document as the message that the method answers with, or as one field of it."""

    def read(answer: Answer) -> Any:
        document = json.loads(bytes(answer.body))
        return ParseDict({under: document} if under else document, response_class(method)(), ignore_unknown_fields=True)

    return read


def _inferred(answer: Answer) -> Any:
    length = dict(answer.headers).get(HEADER_LENGTH)
    return decode_reply(answer.body, None if length is None else int(length))


UNARY = {
    "ServerLive": Method("GET", "/v2/health/live", _document("ServerLive")),
    "ServerReady": Method("GET", "/v2/health/ready", _document("ServerReady"), NOT_READY),
    "ServerMetadata": Method("GET", "/v2", _document("ServerMetadata")),
    "ModelReady": Method("GET", f"{MODEL}/ready", _document("ModelReady"), NOT_READY),
    "ModelMetadata": Method("GET", MODEL, _document("ModelMetadata")),
    "ModelConfig": Method("GET", f"{MODEL}/config", _document("ModelConfig", "config")),
    "ModelStatistics": Method("GET", f"{MODEL}/stats", _document("ModelStatistics"), of_all=STATISTICS),
    INFER: Method("POST", f"{MODEL}/infer", _inferred),
}
METHODS = UNARY | {STREAM: UNARY[INFER]}
