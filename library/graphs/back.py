"""Backs: ONNX graphs at the end of the exported one, which turn numbers that a module gives into what people read."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from library.graphs.front import IR_VERSION, OPSET, texts_of, through

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from torch import nn

    from library.base import Arrays, Model


def named(numbers: str, output: str, names: Sequence[str], count: int) -> onnx.ModelProto:
    """Numbers [batch, count], INT64, counted from 0, to the names that stand at these places [batch, count], BYTES."""
    table = numpy_helper.from_array(np.array([*names], object), f"{output}_of_all")
    node = helper.make_node("Gather", [table.name, numbers], [output])
    taken = helper.make_tensor_value_info(numbers, TensorProto.INT64, ["batch", count])
    made = helper.make_tensor_value_info(output, TensorProto.STRING, ["batch", count])
    graph = helper.make_graph([node], "back", [taken], [made], [table])
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=IR_VERSION)


def as_served(
    model: "Model[Any]", module: "nn.Module", made: "list[NDArray[Any]]", items: "Arrays"
) -> "list[NDArray[Any]]":
    """What the exported file gives where the served module made these of the items."""
    if (back := model.back(module)) is None:
        return made
    named = dict(zip((spec.name for spec in model.signature.outputs), made, strict=False))
    texts = _around(model, items)
    pairs = zip(back.graph.input, back.graph.output, strict=True)
    given = {taken.name: texts[taken.name] if taken.name in texts else named[output.name] for taken, output in pairs}
    named |= through(back, given)
    return [named[spec.name] for spec in model.signature.outputs]


def _around(model: "Model[Any]", items: "Arrays") -> "Arrays":
    """Texts that the front gives to the back."""
    front = model.front()
    names = texts_of(front)
    columns = {spec.name: items[spec.name] for spec in model.signature.inputs}
    return through(front, columns, model.rows, names) if front and names else {}
