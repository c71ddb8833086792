"""What Triton is sent: the head of a request, and the data of the tensors that do not lie in memory that it shares."""

from collections.abc import Mapping, Sequence
from functools import lru_cache
from types import MappingProxyType
from typing import Final

from services.inference.answers import bare_rank
from shared import oip
from shared.events.common import Signature
from shared.tensors import Raw, Tensor

Elsewhere = Mapping[str, oip.Region]
NOWHERE: Final[Elsewhere] = MappingProxyType({})


def message(
    host: str, name: str, request: oip.InferRequest, signature: Signature, regions: Elsewhere = NOWHERE
) -> Sequence[Raw]:
    """The HTTP request: names of the tensors, and data or the regions where it lies; nothing else of the client's."""
    bare = bare_rank(signature)
    tensors = tuple(_column(tensor) if len(tensor.shape) == bare else tensor for tensor in request.inputs)
    shapes = tuple([(tensor.name, tensor.datatype, tensor.shape, len(tensor.data)) for tensor in tensors])
    sent = [tensor.data for tensor in tensors if tensor.name not in regions]
    return _head(host, name, shapes, request.outputs, tuple(regions.items())), *sent


@lru_cache(maxsize=1024)
def _head(
    host: str,
    name: str,
    shapes: tuple[tuple[str, str, tuple[int, ...], int], ...],
    outputs: tuple[oip.RequestedOutput, ...],
    regions: tuple[tuple[str, oip.Region], ...],
) -> bytes:
    """All that comes before the data, which is the same for all requests of these shapes."""
    tensors = tuple(Tensor(tensor, datatype, shape, bytes(size)) for tensor, datatype, shape, size in shapes)
    body, header_length = oip.encode_request(oip.InferRequest(tensors, outputs), dict(regions))
    header_length = len(body) if header_length is None else header_length
    lines = (
        f"POST /v2/models/{name}/infer HTTP/1.1",
        f"Host: {host}",
        "Content-Type: application/octet-stream",
        f"{oip.HEADER_LENGTH}: {header_length}",
        f"Content-Length: {len(body)}",
    )
    return "\r\n".join([*lines, "\r\n"]).encode() + body[:header_length]


def _column(tensor: Tensor) -> Tensor:
    return tensor._replace(shape=(*tensor.shape, 1))
