"""Replies on their way out: those of one turn of the loop that go to one sender share a message."""

import asyncio
import json
from collections import defaultdict
from functools import lru_cache
from itertools import chain
from typing import NamedTuple
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
LARGEST_SHARED = MAX_FRAME_BYTES // 4


class Origin(NamedTuple):
    """Whose requests a message holds: the model that they are for, and where their replies go.

    Replies to one sender may share a message, whichever subject they are for.
    """

    project: str
    model: str
    subject: str
    sender: str

    @classmethod
    def of(cls, project: str, model: str, subject: str) -> "Origin":
        """Below `inferred.` a message may hold replies to any request of its sender."""
        sender = subject.rpartition(".")[0] if subject.startswith(INFERRED) else subject
        return cls(project, model, subject, sender)


class Replies:
    """Collects replies and sends them before the loop waits again."""

    def __init__(self) -> None:
        self._connection: DirectClient | None = None
        self._unsent: dict[str, list[tuple[str, frames.Answered]]] = defaultdict(list)
        self._expected: dict[bytes, asyncio.Future[frames.Reply]] = {}

    def connect(self, connection: DirectClient) -> None:
        self._connection = connection

    def add(self, origin: Origin, answered: frames.Answered) -> None:
        """Send replies soon."""
        if not self._unsent:
            asyncio.get_running_loop().call_soon(self._send)
        self._unsent[origin.sender].append((origin.subject, answered))

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
        for reply in chain.from_iterable(answered.replies() for _, answered in unsent.pop(HERE, ())):
            if (waiting := self._expected.get(reply.prediction_id)) and not waiting.done():
                waiting.set_result(reply)
        try:
            assert self._connection is not None
            for message in chain.from_iterable(frames.grouped(found, _length) for found in unsent.values()):
                frame = frames.encode_answers([answered for _, answered in message])
                self._connection.send(message[0][0], frame)
        except Exception as error:
            observe.log().error("replies not sent", error=repr(error))


def unforeseen(reason: Exception) -> AimassError:
    """What a caller hears of an error that is not ours."""
    observe.log().error("inference failed", exc_info=reason)
    return AimassError("inference failed; the log of the service says more")


def _length(addressed: tuple[str, frames.Answered]) -> int:
    return addressed[1].length


def refusal(ids: tuple[bytes, ...], reason: Exception) -> frames.Answered:
    """Flat error bodies, as the Open Inference Protocol has them; an error that is not ours is logged, not told."""
    error = reason if isinstance(reason, AimassError) else unforeseen(reason)
    status = 400 if isinstance(error, InvalidInput) else error.status
    body = json.dumps({"error": error.message}).encode()
    return frames.Answered(ids, status, len(body), body * len(ids), retry_after=error.retry_after)


def is_shared(asked: oip.InferRequest, outputs: tuple[Tensor, ...]) -> bool:
    """Whether the replies to several requests are alike but for their ids and data, and all go into a message."""
    sizes = [len(tensor.data) for tensor in outputs]
    return _all_binary(asked) and sum(sizes) <= LARGEST_SHARED and all(tensor.datatype != "BYTES" for tensor in outputs)


def answer(
    requests: frames.Asked, asked: oip.InferRequest, deployment: Deployment, outputs: tuple[Tensor, ...]
) -> frames.Answered:
    """The reply that carries these outputs as the request wants them, or the replies to several that share them.

    Raises TooLarge where an evaluation's does not fit into a message, in which alone it can come.
    """
    if _all_binary(asked):
        found = _from_template(requests, asked, deployment, outputs)
    else:
        outputs = tuple(_as_asked(tensor, asked, deployment) for tensor in outputs)
        (prediction_id,), version = requests.ids, str(deployment.version)
        body, header_length = _encoded(uuid_text(prediction_id), asked, deployment.model, version, outputs)
        found = frames.Answered(requests.ids, 200, len(body), body, version, header_length)
    if requests.flags & frames.EVALUATION and found.body_length > BUS_BYTES:
        size = found.body_length
        raise TooLarge(f"the answer has {size} bytes, the bus takes {MAX_FRAME_BYTES}: ask for fewer rows")
    return found


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
    requests: frames.Asked, asked: oip.InferRequest, deployment: Deployment, outputs: tuple[Tensor, ...]
) -> frames.Answered:
    """The header is that of any such reply, but for the id of the prediction."""
    count, version = len(requests.ids), str(deployment.version)
    if count == 1:
        shapes = tuple([(name, datatype, shape, len(data)) for name, datatype, shape, data in outputs])
    else:
        shapes = tuple(
            [
                (name, datatype, (shape[0] // count, *shape[1:]), len(data) // count)
                for name, datatype, shape, data in outputs
            ]
        )
    before, after, length = _template(deployment.model, version, asked.id, shapes)
    size = sum([shape[3] for shape in shapes])
    data = outputs[0].data if len(outputs) == 1 else _woven(outputs, count)
    return frames.Answered(requests.ids, 200, size, data, version, length, None, False, before, after)


def _woven(outputs: tuple[Tensor, ...], count: int) -> bytes:
    """The outputs of the first request, then those of the next one."""
    sized = [(tensor.data, len(tensor.data) // count) for tensor in outputs]
    return b"".join([data[place * size : (place + 1) * size] for place in range(count) for data, size in sized])


@lru_cache(maxsize=1024)
def _template(
    model: str, version: str, request_id: str | None, shapes: tuple[tuple[str, str, tuple[int, ...], int], ...]
) -> tuple[bytes, bytes, int]:
    """What comes before and after the id in the header, and how long that is."""
    asked = oip.InferRequest((), id=request_id, binary_default=True)
    outputs = tuple(Tensor(name, datatype, shape, bytes(size)) for name, datatype, shape, size in shapes)
    body, header_length = _encoded(MARK, asked, model, version, outputs)
    before, _, after = body[:header_length].partition(MARK.encode())
    return before, after, len(before) + len(MARK) + len(after)
