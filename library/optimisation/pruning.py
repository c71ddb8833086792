"""Pruning by magnitude: whole channels and hidden units taken out of a graph, or single weights set to zero.

A unit's weight is the product of the norms of what makes it and of what reads it (Li et al., Pruning Filters for
Efficient ConvNets, 2016, look at the first alone). Nothing is trained afterwards: what it costs the evaluation says.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from math import ceil
from typing import Any, Final

import numpy as np
import onnx
from onnx import numpy_helper

from library.optimisation.graphs import NotOptimised

Array = np.ndarray[Any, Any]
LINEAR: Final = ("Conv", "Gemm", "MatMul")
# What treats each channel by itself, whatever their number.
ALONE: Final = ("Relu", "LeakyRelu", "Elu", "Gelu", "Sigmoid", "Tanh", "Clip", "HardSwish", "Identity", "Dropout")
POOLS: Final = ("MaxPool", "AveragePool", "GlobalAveragePool")
WITH_A_NUMBER: Final = ("Mul", "Div", "Add", "Sub")
# Convolutions are computed in blocks of channels; where these do not come out even they take a third longer.
BLOCKS: Final = (16, 8, 1)
EPSILON: Final = 1e-9


@dataclass
class Parts:
    """A graph with its constants, which change in place, and who reads each value."""

    model: onnx.ModelProto
    constants: dict[str, Array] = field(default_factory=dict)
    readers: dict[str, list[onnx.NodeProto | None]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.constants = {item.name: numpy_helper.to_array(item) for item in self.model.graph.initializer}
        for node in self.model.graph.node:
            for name in node.input:
                self.readers.setdefault(name, []).append(node)
        for output in self.model.graph.output:
            self.readers.setdefault(output.name, []).append(None)

    def own(self, name: str) -> bool:
        """Whether this is a constant that one operator alone reads."""
        return name in self.constants and len(self.readers[name]) == 1

    def reader(self, value: str) -> onnx.NodeProto | None:
        """Who alone reads a value; nobody where several do, or it is an output."""
        found = self.readers.get(value, [])
        return found[0] if len(found) == 1 else None

    def written(self) -> onnx.ModelProto:
        """The graph with its constants as they are now."""
        for item in self.model.graph.initializer:
            array = self.constants[item.name]
            if tuple(item.dims) != array.shape or not np.array_equal(numpy_helper.to_array(item), array):
                item.CopyFrom(numpy_helper.from_array(array, item.name))
        del self.model.graph.value_info[:]
        return self.model


@dataclass(frozen=True)
class Pair:
    """A layer that makes channels, and the one that alone reads them, each as so many columns of its weights.

    `shape` is the constant that flattens them, where something does.
    """

    maker: onnx.NodeProto
    reader: onnx.NodeProto
    made_on: int
    read_on: int
    columns: int
    shape: str = ""


def without_channels(model: onnx.ModelProto, share: float) -> onnx.ModelProto:
    """A smaller graph: of each layer that only one other reads, this share of its channels is gone."""
    parts = Parts(model)
    pairs = list(_pairs(parts))
    if not pairs:
        raise NotOptimised(
            "no channels can be taken out: that needs a convolution or linear layer that only one other reads, "
            "with nothing between them that mixes channels"
        )
    if not sum([_prune(parts, pair, share) for pair in pairs]):
        raise NotOptimised(f"a share of {share:g} is less than one of these channels, or than a block: ask for more")
    return parts.written()


def without_weights(model: onnx.ModelProto, share: float) -> onnx.ModelProto:
    """The same graph; of each layer's weights the smallest are zero."""
    parts = Parts(model)
    names = {node.input[1] for node in model.graph.node if node.op_type in LINEAR and len(node.input) > 1}
    names |= {node.input[0] for node in model.graph.node if node.op_type == "Gather"}
    weights = [name for name in sorted(names) if name in parts.constants and parts.constants[name].dtype.kind == "f"]
    if not weights:
        raise NotOptimised("no weights can be set to zero: no convolution, linear layer or embedding has constant ones")
    for name in weights:
        array = parts.constants[name]
        limit = np.quantile(np.abs(array), share)
        parts.constants[name] = np.where(np.abs(array) <= limit, array.dtype.type(0), array)
    return parts.written()


def _pairs(parts: Parts) -> Iterator[Pair]:
    for node in parts.model.graph.node:
        made_on = _made_on(node)
        if made_on is not None and parts.own(node.input[1]) and (pair := _followed(parts, node, made_on)):
            yield pair


def _attribute(node: onnx.NodeProto, name: str, default: Any) -> Any:
    return next((onnx.helper.get_attribute_value(item) for item in node.attribute if item.name == name), default)


def _made_on(node: onnx.NodeProto) -> int | None:
    """The axis of a layer's weights that counts what it makes."""
    if node.op_type == "Conv":
        return 0 if _attribute(node, "group", 1) == 1 else None
    if node.op_type == "Gemm":
        return 0 if _attribute(node, "transB", 0) else 1
    return 1 if node.op_type == "MatMul" else None


def _read_on(node: onnx.NodeProto) -> int | None:
    """The axis of a layer's weights that counts what it reads."""
    made = _made_on(node)
    return None if made is None or _attribute(node, "transA", 0) else 1 - made


def _followed(parts: Parts, maker: onnx.NodeProto, made_on: int) -> Pair | None:
    """The pair that begins with this layer; None where what it makes is mixed, or read by others too."""
    count, value, columns, shape = parts.constants[maker.input[1]].shape[made_on], maker.output[0], 1, ""
    while (node := parts.reader(value)) is not None and node.op_type not in LINEAR:
        if node.op_type == "Reshape" and maker.op_type == "Conv" and not shape:
            shape, columns = _flattened(parts, node, count)
            if not shape:
                return None
        elif not _keeps_channels(parts, node, value, is_flat=bool(shape), of_conv=maker.op_type == "Conv"):
            return None
        value = node.output[0]
    if node is None or not _reads(parts, node, value, count * columns, of_image=maker.op_type == "Conv" and not shape):
        return None
    return Pair(maker, node, made_on, _read_on(node) or 0, columns, shape)


def _flattened(parts: Parts, node: onnx.NodeProto, channels: int) -> tuple[str, int]:
    """The constant that makes rows of channels, and how many columns each channel has; nothing where it cannot be
    made another one.
    """
    shape = parts.constants.get(node.input[1])
    if shape is None or shape.shape != (2,) or not parts.own(node.input[1]) or shape[1] < 1 or shape[1] % channels:
        return "", 0
    return node.input[1], int(shape[1]) // channels


def _reads(parts: Parts, node: onnx.NodeProto, value: str, columns: int, *, of_image: bool) -> bool:
    """Whether a layer reads so many columns of this value with weights of its own."""
    axis = _read_on(node)
    if axis is None or node.input[0] != value or not parts.own(node.input[1]) or of_image != (node.op_type == "Conv"):
        return False
    weights = parts.constants[node.input[1]]
    return weights.ndim > axis and weights.shape[axis] == columns


def _keeps_channels(parts: Parts, node: onnx.NodeProto, value: str, *, is_flat: bool, of_conv: bool) -> bool:
    if node.op_type in WITH_A_NUMBER:
        others = [name for name in node.input if name != value]
        return len(others) == 1 and others[0] in parts.constants and parts.constants[others[0]].size == 1
    return node.op_type in ALONE or (node.op_type in POOLS and of_conv and not is_flat)


def _prune(parts: Parts, pair: Pair, share: float) -> int:
    """How many channels were taken out."""
    made, read = parts.constants[pair.maker.input[1]], parts.constants[pair.reader.input[1]]
    count = int(made.shape[pair.made_on])
    left = _left(count, share, is_conv=pair.maker.op_type == "Conv")
    kept = np.sort(np.argsort(-_weights(made, read, pair), kind="stable")[:left])
    columns = (kept[:, None] * pair.columns + np.arange(pair.columns)).ravel()
    parts.constants[pair.maker.input[1]] = made.take(kept, axis=pair.made_on)
    parts.constants[pair.reader.input[1]] = read.take(columns, axis=pair.read_on)
    _cut_bias(parts, pair.maker, kept)
    if pair.shape:
        parts.constants[pair.shape] = np.array([parts.constants[pair.shape][0], len(columns)], "<i8")
    return count - len(kept)


def _left(count: int, share: float, *, is_conv: bool) -> int:
    """How many channels stay, a multiple of the block that they come in."""
    block = next(size for size in BLOCKS if count % size == 0) if is_conv else 1
    return max(1, ceil(count * (1 - share) / block - EPSILON)) * block


def _weights(made: Array, read: Array, pair: Pair) -> Array:
    count = made.shape[pair.made_on]
    first = _norms(made, pair.made_on, count)
    second = _norms(read, pair.read_on, count)
    return first * second


def _norms(array: Array, axis: int, count: int) -> Array:
    """The norm of what belongs to each of so many channels along an axis."""
    found: Array = np.linalg.norm(np.moveaxis(array, axis, 0).reshape(count, -1).astype("f8"), axis=1)
    return found


def _cut_bias(parts: Parts, maker: onnx.NodeProto, kept: Array) -> None:
    if len(maker.input) > 2 and maker.input[2]:
        bias = parts.constants[maker.input[2]]
        parts.constants[maker.input[2]] = bias.take(kept, axis=-1) if bias.shape[-1] > 1 else bias


PRUNERS: Final[dict[str, Callable[[onnx.ModelProto, float], onnx.ModelProto]]] = {
    "prune-channels": without_channels,
    "prune-weights": without_weights,
}
