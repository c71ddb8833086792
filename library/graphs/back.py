"""Backs: ONNX graphs at the end of the exported one, which turn numbers that a module gives into what people read."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from library.graphs.front import IR_VERSION, OPSET, through

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from torch import nn

    from library.base import Model


def named(numbers: str, output: str, names: Sequence[str], count: int) -> onnx.ModelProto:
    """Numbers [batch, count], INT64, counted from 0, to the names that stand at these places [batch, count], BYTES."""
    table = numpy_helper.from_array(np.array([*names], object), f"{output}_of_all")
    node = helper.make_node("Gather", [table.name, numbers], [output])
    taken = helper.make_tensor_value_info(numbers, TensorProto.INT64, ["batch", count])
    made = helper.make_tensor_value_info(output, TensorProto.STRING, ["batch", count])
    graph = helper.make_graph([node], "back", [taken], [made], [table])
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=IR_VERSION)


def as_served(model: "Model[Any]", module: "nn.Module", made: "list[NDArray[Any]]") -> "list[NDArray[Any]]":
    """What the exported file gives where the served module made these."""
    if (back := model.back(module)) is None:
        return made
    names = [spec.name for spec in model.signature.outputs]
    places = [names.index(output.name) for output in back.graph.output]
    given = {taken.name: made[place] for taken, place in zip(back.graph.input, places, strict=True)}
    return [through(back, given).get(name, array) for name, array in zip(names, made, strict=True)]
