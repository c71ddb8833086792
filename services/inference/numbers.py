"""Whose answer came: each row travels with a number that the model's process gives back beside the row's answer.

Triton's Python backend may hand over the answer to a request that it has given up: docs/decisions/0034-whose-answer.md.
"""

import secrets
from array import array
from typing import Final

from shared.events.common import Signature
from shared.oip import InferReply, InferRequest, RequestedOutput
from shared.signatures import batch_size, is_batched
from shared.tensors import Tensor

NUMBERS: Final = "aimass.numbers"
DATATYPE: Final = "INT64"
BITS: Final = 62


class Numbers:
    """Gives each row a number that none had before, also of an inference service that ran before this one."""

    def __init__(self) -> None:
        self._next = secrets.randbits(BITS)

    def take(self, request: InferRequest, signature: Signature) -> Tensor:
        """The numbers of a request, as the input that goes with it; without a batch axis it is one."""
        batched = is_batched(signature)
        rows = batch_size(request) if batched else 1
        first, self._next = self._next, self._next + rows
        data = array("q", range(first, first + rows)).tobytes()
        return Tensor(NUMBERS, DATATYPE, (rows, 1) if batched else (1,), data)


def with_numbers(request: InferRequest, numbers: Tensor) -> InferRequest:
    """A request that brings them, and asks for them where it names its outputs."""
    outputs = (*request.outputs, RequestedOutput(NUMBERS)) if request.outputs else ()
    return request._replace(inputs=(*request.inputs, numbers), outputs=outputs)


def without_numbers(reply: InferReply, numbers: Tensor) -> InferReply | None:
    """The reply to the request that has brought these; None where it is to another one."""
    found = [tensor.data for tensor in reply.outputs if tensor.name == NUMBERS]
    if found != [numbers.data]:
        return None
    return reply._replace(outputs=tuple(tensor for tensor in reply.outputs if tensor.name != NUMBERS))
