"""Fronts: ONNX graphs that turn what people send into what a module takes, in training as when served."""

from collections.abc import Sequence
from math import prod
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import onnx
import onnxruntime
from onnx import TensorProto, helper, numpy_helper

if TYPE_CHECKING:
    from collections.abc import Sequence

    from library.base import Arrays

OPSET: Final = 20
IR_VERSION: Final = 10
ROWS: Final = 1024
CONTRIB: Final = "com.microsoft"
WORDS: Final = "[a-z0-9$!']+"
TOKENS: Final = "tokens"


def through(
    front: onnx.ModelProto, columns: "Arrays", rows: int = ROWS, names: "Sequence[str] | None" = None
) -> "Arrays":
    """What the front makes of these columns, all of it or what is named, `rows` at once: outputs of any length end as
    long as the longest.
    """
    session = onnxruntime.InferenceSession(front.SerializeToString(), providers=["CPUExecutionProvider"])
    count = len(next(iter(columns.values())))
    names = names or [output.name for output in front.graph.output]
    found = [session.run(names, _piece(columns, start, rows)) for start in range(0, count, rows)]
    return {name: joined([piece[index] for piece in found]) for index, name in enumerate(names)}


def _piece(columns: "Arrays", start: int, rows: int) -> "Arrays":
    return {name: as_text(column[start : start + rows]) for name, column in columns.items()}


def as_text(column: "np.ndarray[Any, Any]") -> "np.ndarray[Any, Any]":
    """Bytes become the text that onnxruntime's string tensors hold."""
    if column.dtype.kind not in "SO":
        return column
    texts = [element.decode() if isinstance(element, bytes) else element for element in column.ravel()]
    return np.array(texts, object).reshape(column.shape)


def joined(pieces: "list[np.ndarray[Any, Any]]") -> "np.ndarray[Any, Any]":
    """The rows of all, nothing after those that are shorter."""
    if len({piece.shape[1:] for piece in pieces}) == 1:
        return np.concatenate(pieces)
    longest = np.max([piece.shape[1:] for piece in pieces], axis=0)
    nothing: Any = "" if pieces[0].dtype.kind == "O" else 0
    missing = ([(0, 0), *((0, gap) for gap in longest - piece.shape[1:])] for piece in pieces)
    return np.concatenate([np.pad(*pair, constant_values=nothing) for pair in zip(pieces, missing, strict=True)])


def texts_of(front: onnx.ModelProto | None) -> list[str]:
    """Outputs of a front that are text: no module takes them, they go around it to the member's back."""
    return [value.name for value in _outputs(front) if value.type.tensor_type.elem_type == TensorProto.STRING]


def numbers_of(front: onnx.ModelProto) -> list[str]:
    """Outputs of a front that the module takes."""
    texts = texts_of(front)
    return [value.name for value in _outputs(front) if value.name not in texts]


def _outputs(front: onnx.ModelProto | None) -> "Sequence[Any]":
    return front.graph.output if front else ()


def weights_of(front: onnx.ModelProto | None) -> int:
    """How many numbers the front has learnt elsewhere."""
    values = front.graph.initializer if front else ()
    return sum(prod(value.dims) for value in values if value.data_type == TensorProto.FLOAT)


def hashed_words(name: str, buckets: int, most: int, pattern: str = WORDS) -> onnx.ModelProto:
    """Text [batch] to the words' numbers [batch, n], INT64: 1 to `buckets` by a hash, 0 where a row has no more.

    Letters become small; `pattern` says what is a word; words beyond `most` are left out; n is 1 at least.
    Hashing instead of a vocabulary: Weinberger et al., Feature Hashing for Large Scale Multitask Learning, 2009.
    """
    lower = helper.make_node(
        "StringNormalizer", [name], ["front_lower"], case_change_action="LOWER", is_case_sensitive=1, locale="C"
    )
    return _hashed(name, [lower], "front_lower", {"tokenexp": pattern}, buckets, most)


def hashed_letters(name: str, buckets: int, most: int) -> onnx.ModelProto:
    """Text [batch] to the letters' numbers [batch, n], as `hashed_words` does with words."""
    return _hashed(name, [], name, {"separators": [""]}, buckets, most)


def _hashed(name: str, before: list[Any], text: str, how: dict[str, Any], buckets: int, most: int) -> onnx.ModelProto:
    make = helper.make_node
    nodes = [
        *before,
        make("Tokenizer", [text], ["front_words"], domain=CONTRIB, mark=0, pad_value="", mincharnum=1, **how),
        make("Slice", ["front_words", "front_zero", "front_most", "front_one"], ["front_kept"]),
        make("MurmurHash3", ["front_kept"], ["front_hash"], domain=CONTRIB, positive=1, seed=0),
        make("Cast", ["front_hash"], ["front_wide"], to=TensorProto.INT64),
        make("Mod", ["front_wide", "front_buckets"], ["front_bucket"]),
        make("Add", ["front_bucket", "front_one"], ["front_number"]),
        make("Equal", ["front_kept", "front_nothing"], ["front_absent"]),
        make("Where", ["front_absent", "front_zeros", "front_number"], ["front_numbers"]),
        make("Pad", ["front_numbers", "front_pads"], [TOKENS]),
    ]
    constants = {"zero": [0], "most": [most], "one": [1], "buckets": [buckets], "zeros": [0], "pads": [0, 0, 0, 1]}
    arrays = {key: np.array(value, "<i8") for key, value in constants.items()} | {"nothing": np.array([""], object)}
    values = [numpy_helper.from_array(array, f"front_{key}") for key, array in arrays.items()]
    given, made = (name, TensorProto.STRING, ["batch"]), (TOKENS, TensorProto.INT64, ["batch", "length"])
    return _model(nodes, values, given, made)


def _model(nodes: list[Any], values: list[Any], given: tuple[Any, ...], made: tuple[Any, ...]) -> onnx.ModelProto:
    inputs, outputs = [helper.make_tensor_value_info(*given)], [helper.make_tensor_value_info(*made)]
    graph = helper.make_graph(nodes, "front", inputs, outputs, values)
    opsets = [helper.make_opsetid("", OPSET), helper.make_opsetid(CONTRIB, 1)]
    return helper.make_model(graph, opset_imports=opsets, ir_version=IR_VERSION)
