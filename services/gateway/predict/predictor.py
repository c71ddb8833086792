"""A prediction for people: translated here, and answered by the routes of the Open Inference Protocol."""

import asyncio
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Final, NamedTuple

from starlette.types import Message

from services.gateway.open_inference.bodies import HEADER_LENGTH
from services.gateway.open_inference.protocol import Answer, Call, InferenceProtocol
from services.gateway.open_inference.routes import MODEL, TIMEOUT, VERSIONED
from services.gateway.predict.facts import Facts
from services.gateway.predict.versions import Asks, Versions
from shared import observe, oip
from shared.errors import (
    AimassError,
    DeadlineExceeded,
    Forbidden,
    InvalidInput,
    ModelFailed,
    NotFound,
    TooLarge,
    TooManyPending,
    Unauthenticated,
    Unavailable,
)
from shared.tensors import Tensor

BESIDE: Final = 2
PASSED_ON: Final = ("authorization", TIMEOUT.decode())
DEADLINE: Final = "X-Request-Timeout-Ms"
FIELDS: Final = {400: "items", 404: "model"}
REFUSALS: Final[dict[int, type[AimassError]]] = {
    400: InvalidInput,
    401: Unauthenticated,
    403: Forbidden,
    404: NotFound,
    413: TooLarge,
    429: TooManyPending,
    500: ModelFailed,
    503: Unavailable,
    504: DeadlineExceeded,
}


class Translation(NamedTuple):
    """What makes tensors of what came, once the version is known; one that takes long is made beside the loop."""

    tensors: Callable[[Facts], tuple[Tensor, ...]]
    is_long: bool = False


class Predicted(NamedTuple):
    """What a version answered, and how the prediction log calls it."""

    prediction_id: str
    version: int
    outputs: tuple[Tensor, ...]


@dataclass(frozen=True)
class Predictor:
    """Sends tensors as a caller of the protocol would, with his key and his deadline."""

    protocol: InferenceProtocol
    versions: Versions = field(default_factory=Versions)
    beside: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(BESIDE))

    async def predict(
        self, caller: Asks, headers: Mapping[str, str], model: str, version: int | None, translation: Translation
    ) -> tuple[Predicted, Facts]:
        """What was answered, and the facts of the version that did; tried anew where another one serves by now.

        Raises what the translation raises, and what the protocol refuses the request with.
        """
        there, name = caller.at(model, "infer")
        expected = await self.versions.find(there, name, version)
        try:
            predicted = await self.infer(headers, model, version, await self._translated(translation, expected))
        except InvalidInput:
            self.versions.forget_serving(there.project, name)
            now = await self.versions.find(there, name, version)
            if now.version == expected.version:
                raise
            expected = now
            predicted = await self.infer(headers, model, version, await self._translated(translation, expected))
        return predicted, await self.answered_by(there, expected, predicted)

    async def _translated(self, translation: Translation, facts: Facts) -> tuple[Tensor, ...]:
        """Images and long lists would hold the loop up: a few at a time, in threads."""
        if not translation.is_long:
            return translation.tensors(facts)
        async with self.beside:
            return await asyncio.to_thread(translation.tensors, facts)

    async def infer(
        self, headers: Mapping[str, str], model: str, version: int | None, tensors: tuple[Tensor, ...]
    ) -> Predicted:
        """Raises what the protocol refuses it with."""
        call = _call(headers, model, version, oip.encode_request(oip.InferRequest(tensors, binary_default=True)))
        answer = await self.protocol.answer("POST", call)
        found = dict(answer.headers)
        if answer.status != 200:
            raise _refusal(answer, found)
        length = oip.parse_header_length(found[HEADER_LENGTH].decode())
        reply = oip.decode_reply(answer.body, length)
        return Predicted(found[b"x-prediction-id"].decode(), int(reply.model_version), reply.outputs)

    async def answered_by(self, caller: Asks, expected: Facts, predicted: Predicted) -> Facts:
        """The facts of the version that answered, which need not be the one that was expected."""
        if predicted.version == expected.version:
            return expected
        return await self.versions.find(caller, expected.model, predicted.version)


def _call(headers: Mapping[str, str], model: str, version: int | None, encoded: oip.Encoded) -> Call:
    passed = {name.encode(): headers[name].encode("latin-1", "replace") for name in PASSED_ON if name in headers}
    passed[b"traceparent"] = observe.current_traceparent().encode()
    passed[HEADER_LENGTH] = str(encoded.header_length).encode()

    async def receive() -> Message:
        return {"type": "http.request", "body": encoded.body}

    template = f"{VERSIONED if version else MODEL}/infer"
    number = str(version) if version else ""
    return Call(receive, passed, template, model, number, operation="predict", is_whole=True)


def _refusal(answer: Answer, headers: Mapping[bytes, bytes]) -> AimassError:
    message = json.loads(bytes(answer.body))["error"]
    retry_after = headers.get(b"retry-after")
    field = DEADLINE if message.startswith(DEADLINE) else FIELDS.get(answer.status)
    kind = REFUSALS.get(answer.status, AimassError)
    return kind(message, field=field, retry_after=int(retry_after) if retry_after else None)
