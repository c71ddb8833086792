"""What a search index is, and how two orders of the same documents become one; pure."""

import json
from collections.abc import Sequence
from typing import Any, Final, NamedTuple

from pydantic import BaseModel, ConfigDict, TypeAdapter, ValidationError

from shared.errors import InvalidInput
from shared.events.common import Signature, TensorSpec
from shared.names import Digest, Slug
from shared.rpc.inference import Attributes
from shared.tables import TableFormat
from shared.tables.values import Unfit
from shared.tensors import Tensor, to_numpy

KIND: Final = "index"
ID, TEXT, ATTRIBUTES = "id", "text", "attributes"
DOCUMENTS: Final = Signature(
    inputs=(TensorSpec(name=ID, datatype="BYTES", shape=(-1,)), TensorSpec(name=TEXT, datatype="BYTES", shape=(-1,))),
    outputs=(),
)
# What a file may have besides.
OPTIONAL: Final = (TensorSpec(name=ATTRIBUTES, datatype="BYTES", shape=(-1,)),)
MOST_CHARACTERS: Final = {ID: 256, TEXT: 32_768, ATTRIBUTES: 4096}
MOST_DIMENSIONS: Final = 2000
SMOOTHING: Final = 60
CANDIDATES: Final = 100
EXACT_DOCUMENTS: Final = 10_000

_ATTRIBUTES: Final[TypeAdapter[Attributes]] = TypeAdapter(Attributes)


class Document(NamedTuple):
    """A row of the file; its attributes are JSON."""

    id: str
    text: str
    attributes: str = "{}"


class Plan(BaseModel):
    """All that an index needs to be built; `parameters` are what people see of it."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    index: Slug
    version: int
    input: str
    output: str
    dimensions: int
    digest: Digest
    format: TableFormat | None = None
    parameters: dict[str, Any] = {}


def embedding(signature: Signature) -> tuple[str, str, int]:
    """The input for texts, the output with their vectors, and its dimensions; raises InvalidInput for another model."""
    vectors = [spec for spec in signature.outputs if spec.datatype == "FP32" and _is_vector(spec.shape)]
    if [spec.datatype for spec in signature.inputs] != ["BYTES"] or len(signature.inputs[0].shape) != 1 or not vectors:
        wanted = f"takes one text a row and gives a vector of at most {MOST_DIMENSIONS} numbers, as sentence-embedder"
        raise InvalidInput(f"model: an index needs one that {wanted}", field="model")
    return signature.inputs[0].name, vectors[0].name, vectors[0].shape[1]


def _is_vector(shape: Sequence[int]) -> bool:
    return len(shape) == 2 and shape[0] == -1 and 1 <= shape[1] <= MOST_DIMENSIONS


def fused(orders: Sequence[Sequence[int]], limit: int) -> list[tuple[int, float]]:
    """The best of several orders of the same things, each with its score: the sum of 1 / (60 + place) in each.

    Reciprocal rank fusion: Cormack, Clarke and Büttcher, 2009. Of equal scores the lower number comes first.
    """
    scores: dict[int, float] = {}
    for order in orders:
        for place, number in enumerate(order, start=1):
            scores[number] = scores.get(number, 0.0) + 1 / (SMOOTHING + place)
    return sorted(scores.items(), key=lambda found: (-found[1], found[0]))[:limit]


def place_of(number: int, order: Sequence[int]) -> int | None:
    """Where a thing stands in an order, the first place being 1."""
    return order.index(number) + 1 if number in order else None


def literals(outputs: Sequence[Tensor], name: str) -> list[str]:
    """The vectors of an answer as PostgreSQL reads them."""
    (vectors,) = (to_numpy(output) for output in outputs if output.name == name)
    return [f"[{','.join(map(repr, row))}]" for row in vectors.tolist()]


def words(texts: Tensor) -> list[str]:
    """Texts as PostgreSQL takes them, which knows no zero byte."""
    return [text.decode("utf-8", "replace").replace("\0", " ") for text in to_numpy(texts).tolist()]


def documents(start: int, columns: Sequence[Tensor]) -> list[Document]:
    """The rows of a part that starts after so many rows; raises Unfit naming row and column."""
    found = {column.name: words(column) for column in columns}
    rows = [dict(zip(found, cells, strict=True)) for cells in zip(*found.values(), strict=True)]
    return [_document(start + place, row) for place, row in enumerate(rows, start=1)]


def _document(number: int, row: dict[str, str]) -> Document:
    for column, text in row.items():
        if len(text) > (most := MOST_CHARACTERS[column]):
            raise Unfit(
                f"row {number}, column '{column}': has {len(text)} characters, the most is {most}: make it shorter"
            )
    if not row[ID].strip():
        raise Unfit(f"row {number}, column '{ID}': is empty: give each document its own")
    return Document(row[ID], row[TEXT], _attributes(number, row.get(ATTRIBUTES, "")))


def _attributes(number: int, text: str) -> str:
    """Attributes as they are kept: JSON whose characters PostgreSQL takes."""
    try:
        return json.dumps(_ATTRIBUTES.validate_json(text or "{}", strict=True))
    except ValidationError:
        wanted = 'an object of texts, numbers, true, false or null, such as {"brand": "x", "price": 2.5}'
        raise Unfit(f"row {number}, column '{ATTRIBUTES}': is not {wanted}") from None
