"""Replies on their way out: those of one turn of the loop that go to one sender share a message."""

import asyncio
import json
from collections import defaultdict
from functools import lru_cache
from itertools import chain
from uuid import uuid4

from services.inference.domain import Deployment
from shared import frames, observe, oip
from shared.body_store import BUS_BYTES
from shared.bus import settle
from shared.classification import classified
from shared.direct import DirectClient
from shared.errors import AimassError, InvalidInput, TooLarge
from shared.frames import MAX_FRAME_BYTES
from shared.names import uuid_text
from shared.signatures import is_batched
from shared.streams import INFERRED
from shared.tensors import Tensor

MARK = str(uuid4())
HERE = "here"


class Replies:
    """Collects replies and sends them before the loop waits again."""

    def __init__(self) -> None:
        self._connection: DirectClient | None = None
        self._unsent: dict[str, list[tuple[str, frames.Reply]]] = defaultdict(list)
        self._expected: dict[bytes, asyncio.Future[frames.Reply]] = {}

    def connect(self, connection: DirectClient) -> None:
        self._connection = connection

    def add(self, subject: str, reply: frames.Reply) -> None:
        """Send a reply soon. Below `inferred.` a message may hold replies to any request of its sender."""
        sender = subject.rpartition(".")[0] if subject.startswith(INFERRED) else subject
        if not self._unsent:
            asyncio.get_running_loop().call_soon(self._send)
        self._unsent[sender].append((subject, reply))

    def expect(self, prediction_id: bytes) -> "asyncio.Future[frames.Reply]":
        """The reply to a request of this node's own, which goes to HERE."""
        reply: asyncio.Future[frames.Reply] = asyncio.get_running_loop().create_future()
        self._expected[prediction_id] = reply
        reply.add_done_callback(lambda _: self._expected.pop(prediction_id, None))
        return reply

    async def drain(self) -> None:
        """Wait until the bus has all replies."""
        while self._unsent:
            await asyncio.sleep(0)
        if self._connection is not None and self._connection.is_connected:
            await settle(self._connection)

    def _send(self) -> None:
        unsent, self._unsent = self._unsent, defaultdict(list)
        for _, reply in unsent.pop(HERE, ()):
            if (waiting := self._expected.get(reply.prediction_id)) and not waiting.done():
                waiting.set_result(reply)
        try:
            assert self._connection is not None
            for message in chain.from_iterable(frames.grouped(found, _body) for found in unsent.values()):
                frame = frames.encode_replies([reply for _, reply in message])
                self._connection.send(message[0][0], frame)
        except Exception as error:
            observe.log().error("replies not sent", error=repr(error))


def unforeseen(reason: Exception) -> AimassError:
    """What a caller hears of an error that is not ours."""
    observe.log().error("inference failed", exc_info=reason)
    return AimassError("inference failed; the log of the service says more")


def _body(addressed: tuple[str, frames.Reply]) -> frames.Body:
    return addressed[1].body


def refusal(request: frames.Request, reason: Exception) -> frames.Reply:
    """Flat error bodies, as the Open Inference Protocol has them; an error that is not ours is logged, not told."""
    error = reason if isinstance(reason, AimassError) else unforeseen(reason)
    status = 400 if isinstance(error, InvalidInput) else error.status
    body = json.dumps({"error": error.message}).encode()
    return frames.Reply(request.prediction_id, status, body, retry_after=error.retry_after)


def answer(
    request: frames.Request, asked: oip.InferRequest, deployment: Deployment, outputs: tuple[Tensor, ...]
) -> frames.Reply:
    """The reply that carries these outputs as the request wants them.

    Raises TooLarge where an evaluation's does not fit into a message, in which alone it can come.
    """
    model, version = deployment.model, str(deployment.version)
    if _all_binary(asked):
        encoded = _from_template(request, asked, model, version, outputs)
    else:
        outputs = tuple(_as_asked(tensor, asked, deployment) for tensor in outputs)
        encoded = _encoded(uuid_text(request.prediction_id), asked, model, version, outputs)
    if request.flags & frames.EVALUATION and len(encoded.body) > BUS_BYTES:
        raise TooLarge(f"the answer has {len(encoded.body)} bytes, the bus takes {MAX_FRAME_BYTES}: ask for fewer rows")
    return frames.Reply(request.prediction_id, 200, encoded.body, version, encoded.header_length)


def _all_binary(asked: oip.InferRequest) -> bool:
    """Whether every output that Triton gave goes out as it is, as binary data."""
    if not asked.outputs:
        return asked.binary_default
    return all(
        (asked.binary_default if one.binary is None else one.binary) and not one.classes for one in asked.outputs
    )


def _as_asked(tensor: Tensor, asked: oip.InferRequest, deployment: Deployment) -> Tensor:
    classes = next((one.classes for one in asked.outputs if one.name == tensor.name), 0)
    if not classes:
        return tensor
    return classified(tensor, classes, deployment.labels, is_batched(deployment.signature))


def _encoded(
    prediction_id: str, asked: oip.InferRequest, model: str, version: str, outputs: tuple[Tensor, ...]
) -> oip.Encoded:
    parameters = {"prediction_id": prediction_id}
    return oip.encode_reply(oip.InferReply(model, version, outputs, parameters=parameters), asked)


def _from_template(
    request: frames.Request, asked: oip.InferRequest, model: str, version: str, outputs: tuple[Tensor, ...]
) -> oip.Encoded:
    """The header is that of any such reply, but for the id of the prediction."""
    shapes = tuple([(name, datatype, shape, len(data)) for name, datatype, shape, data in outputs])
    before, after = _template(model, version, asked.id, shapes)
    header = b"".join((before, uuid_text(request.prediction_id).encode(), after))
    return oip.Encoded(b"".join((header, *[tensor.data for tensor in outputs])), len(header))


@lru_cache(maxsize=1024)
def _template(
    model: str, version: str, request_id: str | None, shapes: tuple[tuple[str, str, tuple[int, ...], int], ...]
) -> tuple[bytes, bytes]:
    asked = oip.InferRequest((), id=request_id, binary_default=True)
    outputs = tuple(Tensor(name, datatype, shape, bytes(size)) for name, datatype, shape, size in shapes)
    body, header_length = _encoded(MARK, asked, model, version, outputs)
    before, _, after = body[:header_length].partition(MARK.encode())
    return before, after
