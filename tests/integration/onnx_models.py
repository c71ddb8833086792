"""Small ONNX models for tests of the serving path, with the signatures they have."""

from dataclasses import dataclass
from hashlib import sha256
from typing import Any

import numpy as np
from numpy.typing import NDArray
from onnx import ModelProto, NodeProto, TensorProto, helper, numpy_helper

from shared.events.common import Signature, TensorSpec

ELEMENT_TYPES = {
    "BOOL": TensorProto.BOOL,
    "UINT8": TensorProto.UINT8,
    "UINT16": TensorProto.UINT16,
    "UINT32": TensorProto.UINT32,
    "UINT64": TensorProto.UINT64,
    "INT8": TensorProto.INT8,
    "INT16": TensorProto.INT16,
    "INT32": TensorProto.INT32,
    "INT64": TensorProto.INT64,
    "FP16": TensorProto.FLOAT16,
    "FP32": TensorProto.FLOAT,
    "FP64": TensorProto.DOUBLE,
    "BYTES": TensorProto.STRING,
}


@dataclass(frozen=True)
class Served:
    """An ONNX file and its signature."""

    onnx: bytes
    signature: Signature

    @property
    def digest(self) -> str:
        return sha256(self.onnx).hexdigest()


def spec(name: str, datatype: str, *shape: int) -> TensorSpec:
    return TensorSpec(name=name, datatype=datatype, shape=shape)


def served(
    nodes: list[NodeProto],
    inputs: list[TensorSpec],
    outputs: list[TensorSpec],
    **constants: NDArray[Any],
) -> Served:
    graph = helper.make_graph(
        nodes,
        "graph",
        [_value(item) for item in inputs],
        [_value(item) for item in outputs],
        [numpy_helper.from_array(array, name) for name, array in constants.items()],
    )
    model: ModelProto = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    return Served(model.SerializeToString(), Signature(inputs=tuple(inputs), outputs=tuple(outputs)))


def affine() -> Served:
    """y = x W + b, four columns to three."""
    generator = np.random.default_rng(7)
    return served(
        [helper.make_node("MatMul", ["x", "w"], ["xw"]), helper.make_node("Add", ["xw", "b"], ["y"])],
        [spec("x", "FP32", -1, 4)],
        [spec("y", "FP32", -1, 3)],
        w=generator.normal(size=(4, 3)).astype(np.float32),
        b=generator.normal(size=3).astype(np.float32),
    )


def mirror() -> Served:
    """Gives back a tensor of every datatype."""
    return served(
        [helper.make_node("Identity", [f"x_{name}"], [f"y_{name}"]) for name in ELEMENT_TYPES],
        [spec(f"x_{name}", name, -1, 2) for name in ELEMENT_TYPES],
        [spec(f"y_{name}", name, -1, 2) for name in ELEMENT_TYPES],
    )


def doubled(*shape: int) -> Served:
    return served(
        [helper.make_node("Add", ["x", "x"], ["y"])], [spec("x", "FP32", *shape)], [spec("y", "FP32", *shape)]
    )


def lookup() -> Served:
    """A table of ten rows; an index beyond it makes onnxruntime refuse."""
    return served(
        [helper.make_node("Gather", ["table", "index"], ["y"])],
        [spec("index", "INT64", -1, 1)],
        [spec("y", "FP32", -1, 1)],
        table=np.arange(10, dtype=np.float32) * 10,
    )


def slow(size: int = 700, products: int = 90) -> Served:
    """Echoes its input after a second or so of matrix products that depend on it."""
    chain = [helper.make_node("MatMul", [f"m{i}", "m0"], [f"m{i + 1}"]) for i in range(products)]
    return served(
        [
            helper.make_node("ReduceMean", ["x"], ["mean"], keepdims=1),
            helper.make_node("Mul", ["mean", "zero"], ["nothing"]),
            helper.make_node("Expand", ["nothing", "square"], ["m0"]),
            *chain,
            helper.make_node("ReduceMean", [f"m{products}"], ["end"], keepdims=1),
            helper.make_node("Add", ["x", "end"], ["y"]),
        ],
        [spec("x", "FP32", -1, 1)],
        [spec("y", "FP32", -1, 1)],
        zero=np.zeros((1, 1), np.float32),
        square=np.array([size, size], np.int64),
    )


def _value(item: TensorSpec) -> Any:
    shape = [f"n{axis}" if size == -1 else size for axis, size in enumerate(item.shape)]
    return helper.make_tensor_value_info(item.name, ELEMENT_TYPES[item.datatype], shape)
