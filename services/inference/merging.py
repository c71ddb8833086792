"""Which requests may share a call to a model, and how their tensors are joined and its answer is split again; pure."""

import struct
from collections import deque
from collections.abc import Callable, Sequence
from itertools import accumulate, pairwise
from typing import NamedTuple, TypeVar

from shared.events.common import Signature
from shared.oip import InferReply, InferRequest
from shared.signatures import is_batched
from shared.tensors import Raw, Tensor

Key = tuple[object, ...]
_LENGTH = struct.Struct("<I")
_Item = TypeVar("_Item")


def merge_key(request: InferRequest, signature: Signature) -> Key | None:
    """What requests have in common that may share a call; None for a model without a batch axis."""
    if not is_batched(signature):
        return None
    inputs = tuple((tensor.name, tensor.datatype, tensor.shape[1:]) for tensor in request.inputs)
    return inputs, frozenset(output.name for output in request.outputs)


def apart(key: Key | None) -> Key | None:
    """The key of those whose data is where the model's server reads it itself: it is not joined, but asked for at once.

    Tuples of another length equal no other key.
    """
    return None if key is None else (*key, "apart")


class Kind(NamedTuple):
    """With which others an item may share a call (None with none), and how many requests and rows it has."""

    key: Key | None
    requests: int
    rows: int

    def room(self, rows: int) -> int:
        """How many of its requests go where so many more rows have room."""
        return min(self.requests, rows * self.requests // self.rows) if self.rows else self.requests


def take(
    queue: deque[_Item],
    kind: Callable[[_Item], Kind],
    cut: Callable[[_Item, int], tuple[_Item, _Item]],
    max_rows: int,
) -> list[_Item]:
    """Take from a queue its first item, and those behind it that share its key while there is room.

    Items of one key keep their order. `cut` parts one of several requests that has not room whole.
    """
    taken: list[_Item] = []
    left: list[_Item] = []
    key = kind(queue[0]).key
    while queue and (not taken or (key is not None and max_rows > 0)):
        found = kind(queue[0])
        if found.key != key:
            left.append(queue.popleft())
            continue
        room = found.room(max_rows)
        if taken and not room:
            break
        item = queue.popleft()
        if room < found.requests > 1:
            item, rest = cut(item, max(1, room))
            queue.appendleft(rest)
            found = kind(item)
        taken.append(item)
        max_rows -= found.rows
    queue.extendleft(reversed(left))
    return taken


def join(requests: Sequence[InferRequest]) -> InferRequest:
    """One request with the rows of all, in order; they share a key."""
    if len(requests) == 1:
        return requests[0]
    columns = zip(*(request.inputs for request in requests), strict=True)
    return InferRequest(tuple(_joined(column) for column in columns), requests[0].outputs)


def _joined(column: Sequence[Tensor]) -> Tensor:
    name, datatype, shape, _ = column[0]
    rows = sum(tensor.shape[0] for tensor in column)
    return Tensor(name, datatype, (rows, *shape[1:]), b"".join(tensor.data for tensor in column))


def rows_of(tensors: Sequence[Tensor], first: int, last: int) -> tuple[Tensor, ...]:
    """Some rows of tensors whose elements all have the same size."""
    found = []
    for name, datatype, shape, data in tensors:
        stride = len(data) // shape[0]
        found.append(Tensor(name, datatype, (last - first, *shape[1:]), data[first * stride : last * stride]))
    return tuple(found)


def split(reply: InferReply, rows: Sequence[int]) -> list[tuple[Tensor, ...]]:
    """The outputs of each request, by the rows that each had; every output has as many rows as all together."""
    if len(rows) == 1:
        return [reply.outputs]
    columns = [_parts(tensor, rows) for tensor in reply.outputs]
    return list(zip(*columns, strict=True))


def _parts(tensor: Tensor, rows: Sequence[int]) -> list[Tensor]:
    name, datatype, shape, data = tensor
    view = memoryview(data)
    bounds = pairwise(accumulate(rows, initial=0))
    ends = _row_ends(view, shape) if datatype == "BYTES" else None
    stride = len(view) // shape[0]
    cuts = ((ends[start], ends[end]) if ends else (start * stride, end * stride) for start, end in bounds)
    return [
        Tensor(name, datatype, (count, *shape[1:]), view[start:end])
        for count, (start, end) in zip(rows, cuts, strict=True)
    ]


def _row_ends(data: Raw, shape: Sequence[int]) -> list[int]:
    """Where each row of BYTES begins, and the last one ends."""
    per_row = 1
    for size in shape[1:]:
        per_row *= size
    ends, offset = [0], 0
    for _ in range(shape[0]):
        for _ in range(per_row):
            offset += _LENGTH.size + _LENGTH.unpack_from(data, offset)[0]
        ends.append(offset)
    return ends
