"""Graphs that say one token after another: a traced step becomes the body of a loop, and its tokens become text."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from library.graphs.brought import set_all
from library.graphs.front import IR_VERSION, OPSET

if TYPE_CHECKING:
    from numpy.typing import NDArray

EAR: Final = "ear_"
STEP: Final = "step_"
HALVED: Final = 4096


def speak(
    ear: onnx.ModelProto, step: onnx.ModelProto, pieces: Sequence[str], first: int, end: int, most: int
) -> onnx.ModelProto:
    """From the inputs of `ear` to `text`, BYTES [batch]: tokens from `first` on until all rows say `end`, or `most`.

    `step` takes `token` [batch], `place` [], `said` (empty along axis 3 at first) and the outputs of `ear`, whose first
    has the batch as axis 0; it gives `next` and `kept`. `pieces` has the text of each token; where it is twice as long
    the second half is for the first place after the prompt of two tokens.
    """
    ear = onnx.compose.add_prefix(ear, EAR, rename_inputs=False, rename_outputs=False)
    body = onnx.compose.add_prefix(step, STEP)
    _use_outer(body.graph, [output.name for output in ear.graph.output])
    values = _values(_said(step), [*pieces], first, end, most)
    graph = helper.make_graph(
        [*ear.graph.node, *_beginning(ear.graph.output[0].name), _loop(body.graph)],
        "speak",
        [*ear.graph.input],
        [helper.make_tensor_value_info("text", TensorProto.STRING, ["batch"])],
        [*ear.graph.initializer, *body.graph.initializer, *map(_tensor, values, values.values())],
    )
    return _halved(helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=IR_VERSION))


def _values(said: Sequence[int], pieces: list[str], first: int, end: int, most: int) -> "dict[str, np.ndarray]":
    layers, _, *heads = said
    return {
        "end": np.array([end]),
        "first": np.array([first]),
        "most": np.array(most),
        "going": np.array(True),
        "start": np.array([0]),
        "one": np.array([1]),
        "half": np.array([len(pieces) // 2]),
        "pieces": np.array(pieces, object),
        "empty": np.zeros([layers, 1, heads[0], 0, heads[2]], "<f4"),
        "layers": np.array([layers]),
        "heads": np.array(heads),
    }


def _beginning(heard: str) -> list[onnx.NodeProto]:
    """What the first turn is given: the first token of each row, no text, and nothing remembered."""
    make = helper.make_node
    return [
        make("Shape", [heard], ["batch"], start=0, end=1),
        make("Expand", ["first", "batch"], ["token"]),
        make("Expand", ["end", "batch"], ["ends"]),
        make("Equal", ["token", "ends"], ["done"]),
        make("Gather", ["pieces", "ends"], ["nothing"]),
        make("Concat", ["layers", "batch", "heads"], ["said_shape"], axis=0),
        make("Expand", ["empty", "said_shape"], ["said"]),
    ]


def _loop(step: onnx.GraphProto) -> onnx.NodeProto:
    taken = ["most", "going", "token", "said", "nothing", "done"]
    given = ["last_token", "last_said", "text", "last_done"]
    return helper.make_node("Loop", taken, given, body=_body(step))


def _said(step: onnx.ModelProto) -> list[int]:
    """The shape of what is remembered, 0 where it is free."""
    (said,) = (value for value in step.graph.input if value.name == "said")
    return [size.dim_value for size in said.type.tensor_type.shape.dim]


def _tensor(name: str, array: "np.ndarray") -> onnx.TensorProto:
    return numpy_helper.from_array(array, name)


def _use_outer(graph: onnx.GraphProto, names: Sequence[str]) -> None:
    """Have the step read what the graph around it made."""
    outer = {STEP + name: name for name in names}
    for node in graph.node:
        for place, name in enumerate(node.input):
            node.input[place] = outer.get(name, name)


def _body(step: onnx.GraphProto) -> onnx.GraphProto:
    make, info = helper.make_node, helper.make_tensor_value_info
    values = {value.name: value for value in [*step.input, *step.output]}
    nodes = [
        make("Identity", ["turn"], ["step_place"]),
        make("Identity", ["said_in"], ["step_said"]),
        make("Identity", ["token_in"], ["step_token"]),
        *step.node,
        make("Equal", ["step_next", "end"], ["ends_now"]),
        make("Or", ["done_in", "ends_now"], ["done_out"]),
        make("Where", ["done_out", "end", "step_next"], ["token_out"]),
        make("Equal", ["turn", "one"], ["is_bare"]),
        make("Where", ["is_bare", "half", "start"], ["offset"]),
        make("Add", ["token_out", "offset"], ["number"]),
        make("Gather", ["pieces", "number"], ["piece"]),
        make("StringConcat", ["text_in", "piece"], ["text_out"]),
        make("Cast", ["done_out"], ["counted"], to=TensorProto.INT32),
        make("ReduceMin", ["counted"], ["all_done"], keepdims=0),
        make("Cast", ["all_done"], ["is_over"], to=TensorProto.BOOL),
        make("Not", ["is_over"], ["going_on"]),
        make("Identity", ["step_kept"], ["said_out"]),
    ]
    long, text, truth = TensorProto.INT64, TensorProto.STRING, TensorProto.BOOL
    shape = [None] * len(values["step_said"].type.tensor_type.shape.dim)
    carried: list[tuple[str, int, Any]] = [
        ("token", long, ["batch"]),
        ("said", TensorProto.FLOAT, shape),
        ("text", text, ["batch"]),
    ]
    carried.append(("done", truth, ["batch"]))
    taken = [info("turn", long, []), info("going_in", truth, []), *(info(f"{n}_in", t, s) for n, t, s in carried)]
    given = [info("going_on", truth, []), *(info(f"{n}_out", t, s) for n, t, s in carried)]
    return helper.make_graph(nodes, "say_one_more", taken, given)


def _half(array: "NDArray[Any]") -> "NDArray[Any] | None":
    """In half precision, where that is worth it and loses nothing."""
    if array.dtype != np.float32 or array.size < HALVED:
        return None
    with np.errstate(over="ignore"):
        half = array.astype("<f2")
    return half if (array == half).all() else None


def _halved(model: onnx.ModelProto) -> onnx.ModelProto:
    """Weights that half precision holds exactly take half the room, and become FP32 again when the file is read."""
    kept, casts = [], []
    for value in model.graph.initializer:
        if (half := _half(numpy_helper.to_array(value))) is None:
            kept.append(value)
            continue
        kept.append(numpy_helper.from_array(half, f"{value.name}_half"))
        casts.append(helper.make_node("Cast", [f"{value.name}_half"], [value.name], to=TensorProto.FLOAT))
    nodes = [*casts, *model.graph.node]
    set_all(model.graph.initializer, kept)
    set_all(model.graph.node, nodes)
    return model
