"""Graphs of operators, node by node, as fronts and backs write them."""

from typing import Any, Final

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from library.graphs.front import CONTRIB, IR_VERSION, OPSET

ML: Final = "ai.onnx.ml"
Ends = dict[str, tuple[Any, ...]]
"""Names of what goes into a graph, or comes out of it, with types and shapes."""


class Nodes:
    """Nodes of a graph, each named by its place, after a word that no other part of a graph has."""

    def __init__(self, begin: str = "front") -> None:
        self.begin = begin
        self.nodes: list[Any] = []
        self.values: list[Any] = []
        self.types: list[Any] = []

    def __call__(self, operator: str, *inputs: Any, domain: str = "", **how: Any) -> str:
        """The name of what a node makes; an input that is no name is a constant."""
        taken = [given if isinstance(given, str) else self.constant(given) for given in inputs]
        name = f"{self.begin}_{len(self.nodes)}"
        self.nodes.append(helper.make_node(operator, taken, [name], domain=domain, **how))
        return name

    def constant(self, given: Any) -> str:
        name = f"{self.begin}_value_{len(self.values)}"
        array = np.asarray(given)
        self.values.append(numpy_helper.from_array(array.astype("O" if array.dtype.kind in "UO" else "<i8"), name))
        return name

    def told(self, operator: str, *inputs: Any, axes: int = 2, **how: Any) -> str:
        """A node of texts whose type is told: onnx does not infer that of contributed operators, and without it crashes
        at a LabelEncoder.
        """
        name = self(operator, *inputs, **how)
        sizes = ["batch", *(f"{name}_{axis}" for axis in range(1, axes))]
        self.types.append(helper.make_tensor_value_info(name, TensorProto.STRING, sizes))
        return name

    def number(self, condition: str) -> str:
        return self("Cast", condition, to=TensorProto.INT64)

    def looked_up(self, keys: str, table: dict[Any, int], default: int) -> str:
        kind = "keys_strings" if isinstance(next(iter(table)), str) else "keys_int64s"
        how = {kind: [*table], "values_int64s": [*table.values()], "default_int64": default}
        return self("LabelEncoder", keys, domain=ML, **how)

    def gathered(self, numbers: str) -> str:
        """The numbers of each row that are not 0, with no gap between them."""
        there = self.number(self("Greater", numbers, 0))
        room = self("Pad", self("Mul", numbers, 0), [0, 0, 0, 1])
        width = self("Shape", numbers, start=1)
        place = self("Where", self("Cast", there, to=TensorProto.BOOL), self("CumSum", there, 1), self("Add", width, 1))
        filled = self("ScatterElements", room, self("Sub", place, 1), numbers, axis=1)
        count = self("ReduceSum", there, [1], keepdims=0)
        longest = self("ReduceMax", self("Concat", count, [1], axis=0), keepdims=1)
        return self("Slice", filled, [0], longest, [1])

    def model(self, inputs: Ends, outputs: Ends) -> onnx.ModelProto:
        """The graph of all nodes; what goes in and what was given comes out."""
        taken, given = (_infos(side) for side in (inputs, outputs))
        graph = helper.make_graph(self.nodes, self.begin, taken, given, self.values, value_info=self.types)
        opsets = [helper.make_opsetid(domain, version) for domain, version in (("", OPSET), (CONTRIB, 1), (ML, 2))]
        return helper.make_model(graph, opset_imports=opsets, ir_version=IR_VERSION)

    def give(self, found: str, name: str) -> None:
        """Name what the graph gives."""
        self.nodes.append(helper.make_node("Identity", [found], [name]))


def _infos(ends: Ends) -> list[onnx.ValueInfoProto]:
    return [helper.make_tensor_value_info(name, *kind) for name, kind in ends.items()]
