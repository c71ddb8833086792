"""ONNX models that a benchmark brings along: to compute for a known time, to take images, to read digits."""

import hashlib
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from warnings import catch_warnings

import numpy as np
import onnxruntime
from aimass import Client, NotFound
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper
from sklearn.datasets import load_digits
from sklearn.exceptions import ConvergenceWarning
from sklearn.neural_network import MLPClassifier

from examples.champion import serving

SIZE = 256
SERVED_SECONDS = 60.0
Node = tuple[str, list[str], str]


def busy(seconds: float) -> bytes:
    """Doubles one number after about so many seconds of matrix products on one core; it has no batch axis."""
    return _busy(max(1, round(seconds / _seconds_of(_busy(100)) * 100)))


def _busy(products: int) -> bytes:
    chain: list[Node] = [("MatMul", [f"m{step}", "m0"], f"m{step + 1}") for step in range(products)]
    nodes: list[Node] = [
        ("Mul", ["x", "zero"], "nothing"),
        ("Expand", ["nothing", "square"], "m0"),
        *chain,
        ("ReduceMean", [f"m{products}"], "mean"),
        ("Reshape", ["mean", "one"], "end"),
        ("Sum", ["x", "x", "end"], "y"),
    ]
    constants = {
        "zero": np.zeros(1, np.float32),
        "square": np.array([SIZE, SIZE], np.int64),
        "one": np.array([1], np.int64),
    }
    return _model(nodes, [1], [1], constants)


def weighted(factor: float, offset: float, columns: int) -> bytes:
    """factor x + offset, on rows of so many columns."""
    nodes: list[Node] = [("Mul", ["x", "factor"], "scaled"), ("Add", ["scaled", "offset"], "y")]
    constants = {"factor": np.array([factor], np.float32), "offset": np.array([offset], np.float32)}
    return _model(nodes, ["batch", columns], ["batch", columns], constants)


def image_mean() -> bytes:
    """The mean of each channel of images of three channels."""
    nodes: list[Node] = [("GlobalAveragePool", ["x"], "pooled"), ("Flatten", ["pooled"], "y")]
    return _model(nodes, ["batch", 3, 224, 224], ["batch", 3], {})


def digits_mlp(hidden: int = 64) -> bytes:
    """64 pixels of a digit, one hidden layer, 10 logits: trained for a moment, always from the same seed."""
    digits = load_digits()
    trained = MLPClassifier((hidden,), solver="lbfgs", max_iter=30, random_state=0)
    with catch_warnings(action="ignore", category=ConvergenceWarning):
        trained.fit(digits.data[::2] / 16, digits.target[::2])
    (first, second), (bias, last) = trained.coefs_, trained.intercepts_
    constants = {"w1": first / 16, "b1": bias, "w2": second, "b2": last}
    nodes: list[Node] = [
        ("Gemm", ["x", "w1", "b1"], "h"),
        ("Relu", ["h"], "a"),
        ("Gemm", ["a", "w2", "b2"], "y"),
    ]
    singles = {name: np.asarray(values, np.float32) for name, values in constants.items()}
    return _model(nodes, ["batch", 64], ["batch", 10], singles)


def digit() -> NDArray[np.float32]:
    """One digit of the data set that the network was not trained on, raw pixels."""
    return np.asarray(load_digits().data[1], np.float32)


def answer(model: bytes, inputs: NDArray[np.float32]) -> NDArray[np.float32]:
    """What the model gives for this, computed here."""
    (found,) = onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"]).run(None, {"x": inputs})
    return np.asarray(found, np.float32)


def _model(nodes: list[Node], x: Sequence[Any], y: Sequence[Any], constants: dict[str, Any]) -> bytes:
    graph = helper.make_graph(
        [helper.make_node(kind, inputs, [output]) for kind, inputs, output in nodes],
        "graph",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, x)],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, y)],
        [numpy_helper.from_array(array, name) for name, array in constants.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    return bytes(model.SerializeToString())


def _seconds_of(model: bytes) -> float:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(model, options, ["CPUExecutionProvider"])
    times = []
    for _ in range(5):
        started = time.perf_counter()
        session.run(None, {"x": np.ones(1, np.float32)})
        times.append(time.perf_counter() - started)
    return min(times)


def bring(client: Client, name: str, model: bytes) -> int:
    """Upload a model as a version, unless it is one, that answers; returns its number."""
    version = _version(client, name, model) or upload(client, name, model)
    serve(client, name, version)
    return version


def serve(client: Client, name: str, version: int) -> None:
    """Promote a version by force, and return when it answers."""
    deadline = time.monotonic() + SERVED_SECONDS
    client.promote(name, version, force="a benchmark brought it")
    while serving(client, name) != version:
        if time.monotonic() > deadline:
            raise TimeoutError(f"version {version} of {name} did not answer within {SERVED_SECONDS:g} s")
        time.sleep(0.1)


def newest(client: Client, name: str) -> int:
    """The number of a model's newest version, 0 where there is none."""
    try:
        return max((int(found["version"]) for found in client.versions(name)), default=0)
    except NotFound:
        return 0


def _version(client: Client, name: str, model: bytes) -> int | None:
    digest = hashlib.sha256(model).hexdigest()
    try:
        return next((int(found["version"]) for found in client.versions(name) if found["digest"] == digest), None)
    except NotFound:
        return None


def upload(client: Client, name: str, model: bytes) -> int:
    """Upload a model as the next version; returns its number."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "model.onnx"
        file.write_bytes(model)
        return int(client.upload(name, file)["version"])
