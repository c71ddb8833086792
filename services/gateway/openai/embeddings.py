"""Texts in, vectors out, as clients of OpenAI's API send and read them. Pure."""

import base64
from collections.abc import Sequence
from typing import Any, Final, Literal

import numpy as np
from numpy.typing import NDArray

from services.gateway.predict.facts import Facts
from services.gateway.predict.values import Item
from shared.errors import InvalidInput
from shared.tensors import Tensor, to_numpy

MOST_INPUTS: Final = 2048
LABELLED: Final = ("classification", "regression", "ranking")
Encoding = Literal["float", "base64"]


def texts(given: Any) -> list[Item]:
    """The texts of `input`, which is one or several; tokens are refused, as each model has its own."""
    found = [given] if isinstance(given, str) else given
    if type(found) is not list or not 1 <= len(found) <= MOST_INPUTS:
        raise InvalidInput(f"input must be a text, or a list of 1 to {MOST_INPUTS} texts", field="input")
    for number, text in enumerate(found):
        if not isinstance(text, str):
            message = f"input[{number}] must be text: numbers of tokens are not taken, as each model has its own"
            raise InvalidInput(message, field=f"input[{number}]")
    return [Item(f"input[{number}]", text) for number, text in enumerate(found)]


def check_embeds(facts: Facts, dimensions: int | None) -> None:
    """Raises InvalidInput where a version does not make vectors of texts, or not of this many numbers."""
    inputs, outputs = facts.signature.inputs, facts.signature.outputs
    is_text = len(inputs) == 1 and inputs[0].datatype == "BYTES" and inputs[0].shape in ((-1,), (-1, 1))
    is_vector = len(outputs) == 1 and outputs[0].datatype == "FP32" and len(outputs[0].shape) == 2
    if not (is_text and is_vector and facts.is_batched) or facts.labels or facts.task_type in LABELLED:
        message = f"model '{facts.model}' makes no embeddings: it does not turn a text into a vector alone"
        raise InvalidInput(message, field="model")
    size = outputs[0].shape[1]
    if dimensions is not None and size not in (-1, dimensions):
        message = f"dimensions: model '{facts.model}' gives {size}, which cannot be shortened"
        raise InvalidInput(message, field="dimensions")


def vectors(outputs: Sequence[Tensor]) -> NDArray[np.float32]:
    found: NDArray[np.float32] = to_numpy(outputs[0])
    return found


def embedding_list(model: str, found: Sequence[NDArray[np.float32]], encoding: Encoding) -> dict[str, Any]:
    """The list of embeddings; how many tokens a text has is not known here."""
    return {
        "object": "list",
        "data": [
            {"object": "embedding", "index": number, "embedding": _encoded(row, encoding)}
            for number, row in enumerate(row for rows in found for row in rows)
        ],
        "model": model,
        "usage": {"prompt_tokens": 0, "total_tokens": 0},
    }


def _encoded(row: NDArray[np.float32], encoding: Encoding) -> str | list[float]:
    if encoding == "base64":
        return base64.b64encode(row.astype("<f4").tobytes()).decode()
    return [float(str(value)) for value in row]
