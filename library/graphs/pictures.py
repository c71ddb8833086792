"""Pictures as vectors: the front of members that look at pictures of any size, grey or in colour."""

from functools import cache
from typing import Any, Final, cast

import numpy as np
import onnx
import torch
from onnx import TensorProto, helper, numpy_helper
from torch import nn

from library.graphs.front import IR_VERSION, OPSET
from library.networks.efficientnet import Convolution, EfficientNetLite0, Inverted, published

STRIDE: Final = 32
FEATURES: Final = "features"
MIDDLE: Final = 127.0
REACH: Final = 128.0


@cache
def seen(name: str, least: int, most: int, levels: tuple[int, ...]) -> onnx.ModelProto:
    """Pictures [batch, 1 or 3, height, width], UINT8, to features [batch, width of the levels], FP32.

    Each side is brought to a multiple of 32 from `least` to `most`: small pictures are enlarged, large ones shrunk. The
    network's weights are those of ImageNet, and stay so.
    """
    return _Front().of(name, least, most, published(levels))


class _Front:
    """The graph as it grows; an operator gives the name of what it makes."""

    def __init__(self) -> None:
        self._nodes: list[Any] = []
        self._values: list[Any] = []

    def of(self, name: str, least: int, most: int, network: EfficientNetLite0) -> onnx.ModelProto:
        pictures = self._resized(name, least, most)
        found = []
        for level, layer in enumerate(network.body):
            pictures = self._layer(layer, pictures)
            if level in network.levels:
                mean = self._make("ReduceMean", pictures, self._value(np.array([2, 3], "<i8")), keepdims=0)
                found.append(self._make("LpNormalization", mean, axis=1, p=2))
        width = network(torch.zeros(1, 3, STRIDE, STRIDE)).shape[1]
        self._nodes.append(helper.make_node("Concat", found, [FEATURES], axis=1))
        given = helper.make_tensor_value_info(name, TensorProto.UINT8, ["batch", "channels", "height", "width"])
        made = helper.make_tensor_value_info(FEATURES, TensorProto.FLOAT, ["batch", width])
        graph = helper.make_graph(self._nodes, "pictures", [given], [made], self._values)
        return helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=IR_VERSION)

    def _make(self, operator: str, *inputs: str, **attributes: Any) -> str:
        name = f"picture_{len(self._nodes)}"
        self._nodes.append(helper.make_node(operator, inputs, [name], **attributes))
        return name

    def _value(self, array: "np.ndarray[Any, Any]") -> str:
        name = f"picture_value_{len(self._values)}"
        self._values.append(numpy_helper.from_array(array, name))
        return name

    def _resized(self, name: str, least: int, most: int) -> str:
        """Shrunk with the pixels between taken into account, in three colours, -1 to 1."""
        stride, low, high = (self._value(np.array([number], "<i8")) for number in (STRIDE, least, most))
        steps = self._make("Div", self._make("Shape", name, start=2), stride)
        sides = self._make("Min", self._make("Max", self._make("Mul", steps, stride), low), high)
        shape = self._make("Concat", self._make("Shape", name, end=2), sides, axis=0)
        wide = self._make("Cast", name, to=TensorProto.FLOAT)
        resized = self._make("Resize", wide, "", "", shape, mode="linear", antialias=1)
        coloured = self._make("Expand", resized, self._value(np.array([1, 3, 1, 1], "<i8")))
        middle, reach = (self._value(np.array(number, "<f4")) for number in (MIDDLE, REACH))
        return self._make("Div", self._make("Sub", coloured, middle), reach)

    def _layer(self, layer: nn.Module, pictures: str) -> str:
        if isinstance(layer, Convolution):
            return self._convolution(layer, pictures)
        inverted, made = cast("Inverted", layer), pictures
        for part in inverted.block:
            made = self._convolution(cast("Convolution", part), made)
        return self._make("Add", pictures, made) if inverted.around else made

    def _convolution(self, layer: Convolution, pictures: str) -> str:
        """Normalising, being linear, goes into the weights."""
        weight, bias = (self._value(tensor.detach().numpy()) for tensor in layer.folded())
        left, right, top, bottom = layer.padding
        convolve = layer.convolve
        how = {"strides": [*convolve.stride], "group": convolve.groups, "pads": [top, left, bottom, right]}
        made = self._make("Conv", pictures, weight, bias, **how)
        if not layer.active:
            return made
        low, high = (self._value(np.array(number, "<f4")) for number in (0, 6))
        return self._make("Clip", made, low, high)
