"""Small networks as ONNX, with constant weights of which some are nothing, for tests of what is done to graphs."""

from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import helper

from tests.integration.onnx_models import Served, served, spec

IMAGE, CLASSES = (1, 8, 8), 4
Arrays = dict[str, NDArray[Any]]


def convolutions(dead: float = 0, seed: int = 3) -> Served:
    """Two convolutions and two linear layers, from an image to four scores; of what each layer but the last makes, this
    share of channels has weights and bias of nothing.
    """
    random = np.random.default_rng(seed)
    make = helper.make_node
    weights: Arrays = {
        "w1": random.normal(size=(32, 1, 3, 3)),
        "b1": random.normal(size=32),
        "w2": random.normal(size=(12, 32, 3, 3)) / 8,
        "b2": random.normal(size=12),
        "w3": random.normal(size=(16, 12 * 16)) / 14,
        "b3": random.normal(size=16),
        "w4": random.normal(size=(4, 16)) / 4,
        "b4": random.normal(size=4),
    }
    for name in ("w1", "b1", "w2", "b2", "w3", "b3"):
        weights[name][: int(dead * len(weights[name]))] = 0
    return served(
        [
            make("Conv", ["image", "w1", "b1"], ["c1"], name="first", pads=[1, 1, 1, 1]),
            make("Relu", ["c1"], ["r1"], name="first_relu"),
            make("Conv", ["r1", "w2", "b2"], ["c2"], name="second", pads=[1, 1, 1, 1]),
            make("Relu", ["c2"], ["r2"], name="second_relu"),
            make("MaxPool", ["r2"], ["p2"], name="pool", kernel_shape=[2, 2], strides=[2, 2]),
            make("Reshape", ["p2", "flat"], ["f2"], name="flatten"),
            make("Gemm", ["f2", "w3", "b3"], ["g3"], name="hidden", transB=1),
            make("Relu", ["g3"], ["r3"], name="hidden_relu"),
            make("Gemm", ["r3", "w4", "b4"], ["g4"], name="last", transB=1),
            make("Softmax", ["g4"], ["scores"], name="softmax", axis=1),
        ],
        [spec("image", "FP32", -1, *IMAGE)],
        [spec("scores", "FP32", -1, CLASSES)],
        flat=np.array([-1, 12 * 16], np.int64),
        **{name: array.astype("f4") for name, array in weights.items()},
    )


def residual() -> Served:
    """A convolution whose channels two others read: none of them can be taken out."""
    random = np.random.default_rng(5)
    make = helper.make_node
    return served(
        [
            make("Conv", ["image", "w1"], ["c1"], name="trunk", pads=[1, 1, 1, 1]),
            make("Relu", ["c1"], ["r1"], name="relu"),
            make("Add", ["r1", "c1"], ["scores"], name="sum"),
        ],
        [spec("image", "FP32", -1, *IMAGE)],
        [spec("scores", "FP32", -1, 2, 8, 8)],
        w1=random.normal(size=(2, 1, 3, 3)).astype("f4"),
    )


def images(count: int, seed: int = 0) -> Arrays:
    return {"image": np.random.default_rng(seed).normal(size=(count, *IMAGE)).astype("f4")}


def graph(model: Served) -> onnx.ModelProto:
    return onnx.ModelProto.FromString(model.onnx)
