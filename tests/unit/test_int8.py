"""Weights become int8 without another interface, and answers stay near."""

import numpy as np
import onnx
import onnxruntime
from onnx import TensorProto, helper, numpy_helper

from library.graphs.front import IR_VERSION, OPSET
from library.graphs.int8 import weights_as_int8

WORDS, WIDTH = 500, 64


def graph() -> onnx.ModelProto:
    """Numbers of words [batch, n] to vectors [batch, n, 64]."""
    random = np.random.RandomState(0)
    weights = {"table": (WORDS, WIDTH), "matrix": (WIDTH, WIDTH)}
    values = [numpy_helper.from_array(random.normal(size=shape).astype("<f4"), name) for name, shape in weights.items()]
    nodes = [
        helper.make_node("Gather", ["table", "words"], ["found"]),
        helper.make_node("MatMul", ["found", "matrix"], ["out"]),
    ]
    words = helper.make_tensor_value_info("words", TensorProto.INT64, ["batch", "n"])
    out = helper.make_tensor_value_info("out", TensorProto.FLOAT, ["batch", "n", WIDTH])
    made = helper.make_graph(nodes, "g", [words], [out], values)
    return helper.make_model(made, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=IR_VERSION)


def answer(model: onnx.ModelProto) -> np.ndarray:
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    (out,) = session.run(None, {"words": np.arange(WORDS).reshape(20, 25)})
    return np.asarray(out).reshape(WORDS, WIDTH)


def test_a_graph_becomes_a_quarter_and_its_vectors_point_the_same_way() -> None:
    before, after = graph(), weights_as_int8(graph())
    assert [value.name for value in after.graph.input] == ["words"]
    assert after.ByteSize() < before.ByteSize() / 3
    one, other = answer(before), answer(after)
    likeness = (one * other).sum(axis=1) / np.linalg.norm(one, axis=1) / np.linalg.norm(other, axis=1)
    assert likeness.min() > 0.99
    assert not np.array_equal(one, other)


def test_the_same_graph_becomes_the_same_bytes() -> None:
    one, other = (weights_as_int8(graph()).SerializeToString(deterministic=True) for _ in range(2))
    assert one == other
