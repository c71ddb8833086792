"""Graphs that others made, as modules that cannot be trained: torch holds the weights, onnxruntime computes."""

from collections.abc import Callable, Sequence
from typing import Any, Final

import onnx
import onnxruntime
import torch
from onnx import helper, numpy_helper
from torch import Tensor, nn

SMALLEST: Final = 64


class GraphModule(nn.Module):
    """Computes the first output of a graph, whose larger FP32 constants are its parameters."""

    def __init__(self, graph: onnx.ModelProto) -> None:
        super().__init__()
        self._graph = graph
        self._session: onnxruntime.InferenceSession | None = None
        for value in graph.graph.initializer:
            array = numpy_helper.to_array(value)
            if array.dtype == "f4" and array.size >= SMALLEST:
                self.register_parameter(_key(value.name), nn.Parameter(torch.tensor(array), requires_grad=False))

    def graph(self) -> onnx.ModelProto:
        """The graph with the weights as they are now."""
        own = dict(self.named_parameters())
        for value in self._graph.graph.initializer:
            if (weights := own.get(_key(value.name))) is not None:
                value.CopyFrom(numpy_helper.from_array(weights.numpy(), value.name))
        return self._graph

    def forward(self, *inputs: Tensor) -> Tensor:
        if self._session is None:
            content = self.graph().SerializeToString()
            self._session = onnxruntime.InferenceSession(content, providers=["CPUExecutionProvider"])
        names = [value.name for value in self._session.get_inputs()]
        arrays = (tensor.numpy() for tensor in inputs)
        return torch.from_numpy(self._session.run(None, dict(zip(names, arrays, strict=True)))[0])


def _key(name: str) -> str:
    """Names of parameters hold no dots."""
    return name.replace(".", "/")


def replace(graph: onnx.GraphProto, output: str, make: Callable[[str], Sequence[onnx.NodeProto]]) -> None:
    """Put other nodes in the place of the one that makes `output`; `make` is told the name that they shall give."""
    nodes = [*graph.node]
    place = next(number for number, node in enumerate(nodes) if output in node.output)
    nodes[place : place + 1] = make(output)
    set_all(graph.node, nodes)


def insert_after(graph: onnx.GraphProto, output: str, node: onnx.NodeProto) -> None:
    """Let `node`, which takes `<output>_before`, give `output` in place of the node that did."""
    nodes = [*graph.node]
    place = next(number for number, made in enumerate(nodes) if output in made.output)
    renamed = onnx.NodeProto.FromString(nodes[place].SerializeToString())
    renamed.output[[*renamed.output].index(output)] = f"{output}_before"
    nodes[place : place + 1] = [renamed, node]
    set_all(graph.node, nodes)


def add_constants(graph: onnx.GraphProto, **arrays: Any) -> None:
    graph.initializer.extend(numpy_helper.from_array(array, name) for name, array in arrays.items())


def set_ends(graph: onnx.GraphProto, inputs: Sequence[tuple[Any, ...]], outputs: Sequence[tuple[Any, ...]]) -> None:
    """Name, type and shape of what goes in and comes out."""
    set_all(graph.input, [helper.make_tensor_value_info(*end) for end in inputs])
    set_all(graph.output, [helper.make_tensor_value_info(*end) for end in outputs])


def set_all(field: Any, values: Sequence[Any]) -> None:
    """Put these messages into a repeated field in place of those that it holds; they may be the same."""
    copies = [type(value).FromString(value.SerializeToString()) for value in values]
    del field[:]
    field.extend(copies)
