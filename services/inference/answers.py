"""What the answers of Triton say: whose they are, whether they keep to the signature, and why it refuses."""

import re
from collections import defaultdict
from typing import Final, NamedTuple

from services.inference.connections import Response
from services.inference.layouts import Layouts
from services.inference.numbers import without_numbers
from shared import oip
from shared.errors import AimassError, InvalidInput, ModelFailed, Unavailable
from shared.events.common import Signature, TensorSpec
from shared.signatures import batch_size, fits, is_batched
from shared.tensors import Tensor

MESSAGE_LIMIT: Final = 300
_CRASHED: Final = re.compile(
    r"stub process .*(unhealthy|not healthy|failed)|obtain the health mutex|retrieve the response error", re.IGNORECASE
)
_PRIVATE: Final = re.compile(r"\[request id: [^\]]*\] ?|\S*/\S+|\S*shm\S*|\b0x[0-9a-f]+", re.IGNORECASE)


class Crashed(Unavailable):
    """The model's process has crashed; it is being loaded again."""

    code = "model_crashed"


class Confused(Crashed):
    """The model's process answered another request; it is being loaded again."""


class _Met(NamedTuple):
    """An answer that was found to fit the signature: to which outputs and rows, and what it was but for the tensors."""

    asked: tuple[tuple[oip.RequestedOutput, ...], int]
    reply: oip.InferReply


class Answers:
    """Reads answers, and remembers for each version the headers that it has met."""

    def __init__(self) -> None:
        self._layouts: defaultdict[str, Layouts[_Met]] = defaultdict(Layouts)

    def forget(self, name: str) -> None:
        """A version is loaded anew, or gone."""
        self._layouts.pop(name, None)

    def read(
        self, name: str, request: oip.InferRequest, numbers: Tensor | None, signature: Signature, response: Response
    ) -> oip.InferReply:
        """The answer in the shapes of the signature; one whose header was met before, after a request like this, is
        neither parsed nor checked again.

        Raises Unavailable, Crashed, Confused, InvalidInput or ModelFailed.
        """
        if response.status != 200:
            raise _refusal(response)
        header_length = _header_length(response)
        asked, layouts = (request.outputs, batch_size(request)), self._layouts[name]
        met = layouts.find(response.body, header_length)
        if met is not None and met[0].asked == asked:
            return _without_numbers(met[0].reply._replace(outputs=met[1]), numbers)
        reply = _decoded(response.body, header_length)
        checked = _checked(_without_numbers(reply, numbers), request, signature)
        named = {tensor.name: tensor for tensor in checked.outputs}
        tensors = tuple(named.get(tensor.name, tensor) for tensor in reply.outputs)
        layouts.keep(response.body, header_length, _Met(asked, reply._replace(outputs=())), tensors)
        return checked


def bare_rank(signature: Signature) -> int | None:
    """The rank of tensors with no axis beside the batch: they travel as a column, see repository.py."""
    return 1 if is_batched(signature) else None


def public(message: str) -> str:
    """The first line of Triton's words, without paths, addresses and names of shared memory."""
    return _PRIVATE.sub("", message.partition("\n")[0])[:MESSAGE_LIMIT].strip()


def _header_length(response: Response) -> int | None:
    try:
        return oip.parse_header_length(response.header_length)
    except InvalidInput as error:
        raise _unreadable(error) from error


def _decoded(body: bytes, header_length: int | None) -> oip.InferReply:
    try:
        return oip.decode_reply(body, header_length)
    except InvalidInput as error:
        raise _unreadable(error) from error


def _unreadable(error: InvalidInput) -> ModelFailed:
    return ModelFailed(f"Triton's answer cannot be read: {error.message}")


def _without_numbers(reply: oip.InferReply, numbers: Tensor | None) -> oip.InferReply:
    """The reply to the request that has brought these; raises Confused."""
    own = without_numbers(reply, numbers) if numbers else reply
    if own is None:
        raise Confused()
    return own


def _refusal(response: Response) -> AimassError:
    message = _reason(response.body)
    if response.status in (404, 503):
        return Unavailable("the model is not loaded in Triton now; try again")
    if _CRASHED.search(message):
        return Crashed()
    return InvalidInput(message) if response.status == 400 else ModelFailed(message)


def _reason(body: bytes) -> str:
    try:
        return public(str(oip.load_json(body)["error"]))
    except (InvalidInput, KeyError, TypeError):
        return ModelFailed().message


def _checked(reply: oip.InferReply, request: oip.InferRequest, signature: Signature) -> oip.InferReply:
    """The reply in the shapes of the signature, or ModelFailed where it does not keep to them."""
    wanted = {output.name for output in request.outputs}
    specs = {spec.name: spec for spec in signature.outputs if not wanted or spec.name in wanted}
    if {tensor.name for tensor in reply.outputs} != specs.keys():
        raise ModelFailed("the model's answer lacks outputs of its signature")
    rows = batch_size(request) if is_batched(signature) else None
    bare = bare_rank(signature)
    return reply._replace(outputs=tuple(_output(tensor, specs[tensor.name], rows, bare) for tensor in reply.outputs))


def _output(tensor: Tensor, spec: TensorSpec, rows: int | None, bare: int | None) -> Tensor:
    shape = tensor.shape
    if len(spec.shape) == bare and shape[1:] == (1,):
        shape = shape[:1]
    if tensor.datatype != spec.datatype or not fits(shape, spec.shape) or rows not in (None, *shape[:1]):
        found, expected = f"{tensor.datatype} {list(shape)}", f"{spec.datatype} {list(spec.shape)}"
        raise ModelFailed(f"output '{spec.name}' of the model is {found}, its signature says {expected}")
    return tensor._replace(shape=shape)
