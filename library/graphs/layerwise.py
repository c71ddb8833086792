"""Where an ONNX graph begins to answer otherwise than the PyTorch module that it was made of: layer by layer.

The export notes for each operator which module it comes from; so the last value of a module's operators is compared
with what the module itself gives. A value that a graph does not have any more, as it was fused away, is left out.
"""

import ast
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import onnx
import onnxruntime
import torch
from torch import Tensor, nn

from library.base import Model
from library.graphs.export import program_of
from library.graphs.front import as_text

if TYPE_CHECKING:
    from library.base import Arrays

SCOPES = "pkg.torch.onnx.name_scopes"
WRAPPED = "module."
TINY = 1e-12


@dataclass(frozen=True)
class Layer:
    """A module by its path and class, and the value of the graph that it ends in, with the operator that makes it."""

    path: str
    kind: str
    value: str
    operator: str

    def __str__(self) -> str:
        return f"{self.path} ({self.kind}, value '{self.value}' of {self.operator})"


@dataclass(frozen=True)
class Apart:
    """How far module and graph are apart at a layer: the widest difference, and the largest figure of the module."""

    layer: Layer
    difference: float
    largest: float

    def is_beyond(self, tolerance: float) -> bool:
        """Whether this is more than a difference of rounding; what is not a number is."""
        return not self.difference <= tolerance * max(1.0, self.largest)


def layers_of(model: Model[Any], served: nn.Module) -> list[Layer]:
    """The layers of the exported graph, in its order; of two that end in the same value the inner one."""
    kinds = {path: type(module).__name__ for path, module in served.named_modules() if path}
    ends: dict[str, tuple[str, str]] = {}
    for node in program_of(model, served).model.graph:
        scopes = ast.literal_eval(node.metadata_props.get(SCOPES, "[]"))
        for path in kinds.keys() & {scope.removeprefix(WRAPPED) for scope in scopes if scope.startswith(WRAPPED)}:
            ends.pop(path, None)
            ends[path] = (str(node.outputs[0].name), node.op_type)
    inner_first = sorted(ends, key=lambda path: -path.count("."))
    order = list(dict.fromkeys(value for value, _ in ends.values()))
    chosen = {ends[path][0]: path for path in reversed(inner_first)}
    return [Layer(chosen[value], kinds[chosen[value]], *ends[chosen[value]]) for value in order]


def apart(
    model: Model[Any], served: nn.Module, layers: list[Layer], graph: onnx.ModelProto, items: "Arrays"
) -> list[Apart]:
    """Each of these layers of both, in the order of the graph, on the same items."""
    wanted = _of_the_module(served, layers, model.inputs(items))
    found = of_the_graph(graph, (layer.value for layer in layers), items)
    return list(_compared(layers, wanted, found))


def first_beyond(found: Iterable[Apart], tolerance: float) -> Apart | None:
    """The first layer that is not as it should be: those before it agree."""
    return next((each for each in found if each.is_beyond(tolerance)), None)


def _compared(layers: list[Layer], wanted: "Arrays", found: "Arrays") -> Iterator[Apart]:
    for layer in layers:
        left, right = wanted.get(layer.path), found.get(layer.value)
        if left is None or right is None:
            continue
        if left.shape != right.shape:
            yield Apart(layer, float("inf"), float(np.abs(left).max(initial=TINY)))
        else:
            difference = np.abs(left.astype("f8") - right.astype("f8")).max(initial=0)
            yield Apart(layer, float(difference), float(np.abs(left).max(initial=TINY)))


def _of_the_module(served: nn.Module, layers: list[Layer], inputs: tuple[Tensor, ...]) -> "Arrays":
    """What each of these modules gives, the last time where one is called more than once."""
    given: Arrays = {}
    modules = dict(served.named_modules())

    def keep(path: str) -> Any:
        def hook(_: nn.Module, __: Any, output: Any) -> None:
            first = output[0] if isinstance(output, tuple) else output
            if isinstance(first, Tensor):
                given[path] = first.detach().numpy()

        return hook

    hooks = [modules[layer.path].register_forward_hook(keep(layer.path)) for layer in layers]
    try:
        with torch.no_grad():
            served.eval()(*inputs)
    finally:
        for hook in hooks:
            hook.remove()
    return given


def of_the_graph(graph: onnx.ModelProto, values: Iterable[str], items: "Arrays") -> "Arrays":
    """Values from within a graph, of those that it has."""
    probed = onnx.ModelProto()
    probed.CopyFrom(graph)
    made = {name for node in probed.graph.node for name in node.output}
    wanted = [name for name in dict.fromkeys(values) if name in made]
    outputs = {item.name for item in probed.graph.output}
    probed.graph.output.extend(onnx.ValueInfoProto(name=name) for name in wanted if name not in outputs)
    session = onnxruntime.InferenceSession(probed.SerializeToString(), providers=["CPUExecutionProvider"])
    feeds = {item.name: as_text(items[item.name]) for item in session.get_inputs()}
    return dict(zip(wanted, session.run(wanted, feeds), strict=True))
