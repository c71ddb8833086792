"""int8: weights alone (dynamic), or activations too, by ranges that rows of the data set give (static)."""

import contextlib
import io
import logging
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import onnx
from onnxruntime.quantization import (
    CalibrationDataReader,
    CalibrationMethod,
    QuantFormat,
    QuantType,
    quantize_dynamic,
    quantize_static,
)
from onnxruntime.quantization.shape_inference import quant_pre_process

from library.optimisation.graphs import NotOptimised, batches, operators
from shared.optimisation import Int8Dynamic, Int8Static

if TYPE_CHECKING:
    from library.base import Arrays

# A convolution whose activations are quantised as they come is several times slower than in float: not here.
DYNAMIC: Final = ("MatMul", "Gemm", "Gather", "LSTM", "Attention", "EmbedLayerNormalization")
HEAVY: Final = ("Conv", "ConvTranspose", "MatMul", "Gemm", "Gather")
# What lies between those: in int8 too, so that figures need not become float and int8 again.
BETWEEN: Final = (
    *("Relu", "Clip", "MaxPool", "AveragePool", "GlobalAveragePool", "Add"),
    *("Reshape", "Flatten", "Transpose", "Squeeze", "Unsqueeze"),
)
INT8: Final = frozenset({"QuantizeLinear", "DequantizeLinear", "DynamicQuantizeLinear", "MatMulInteger", "ConvInteger"})
RANGES: Final = {
    "minmax": CalibrationMethod.MinMax,
    "entropy": CalibrationMethod.Entropy,
    "percentile": CalibrationMethod.Percentile,
}


class Rows(CalibrationDataReader):  # type: ignore[misc]
    """Rows of a data set, batch by batch, as the quantiser asks for them."""

    def __init__(self, given: "Iterator[Arrays]") -> None:
        self._given = given

    def get_next(self) -> "Arrays | None":
        return next(self._given, None)


def dynamic(model: onnx.ModelProto, way: Int8Dynamic, folder: Path) -> onnx.ModelProto:
    """Weights as int8."""
    prepared, target = _prepared(model, folder), folder / "dynamic.onnx"
    how = _how(prepared, DYNAMIC, way.exclude)
    with _quiet():
        quantize_dynamic(str(prepared), str(target), weight_type=QuantType.QInt8, **how)
    return _made(target)


def static(model: onnx.ModelProto, way: Int8Static, rows: "Arrays", folder: Path) -> onnx.ModelProto:
    """Weights and activations as int8; the ranges of activations are those on the first rows."""
    prepared, target = _prepared(model, folder), folder / "static.onnx"
    how = _how(prepared, (*HEAVY, *BETWEEN), way.exclude)
    given = batches(model, rows, way.rows)
    with _quiet():
        quantize_static(
            str(prepared),
            str(target),
            Rows(given),
            quant_format=QuantFormat.QDQ,
            activation_type=QuantType.QUInt8,
            weight_type=QuantType.QInt8,
            calibrate_method=RANGES[way.ranges],
            **how,
        )
    return _made(target)


def _prepared(model: onnx.ModelProto, folder: Path) -> Path:
    """The graph with its shapes inferred and constants folded, as the quantiser needs it."""
    if INT8 & operators(model).keys():
        raise NotOptimised("this version is int8 already")
    given, prepared = folder / "float.onnx", folder / "prepared.onnx"
    onnx.save(model, str(given))
    with _quiet():
        quant_pre_process(str(given), str(prepared), skip_symbolic_shape=True)
    return prepared


def _how(prepared: Path, kinds: tuple[str, ...], exclude: tuple[str, ...]) -> dict[str, Any]:
    model = onnx.load(str(prepared))
    excluded = _excluded(model, exclude)
    touched = [node for node in model.graph.node if node.op_type in kinds and node.name not in excluded]
    if not touched:
        has = ", ".join(sorted(operators(model)))
        raise NotOptimised(f"nothing here can be made int8: that is for {', '.join(kinds)}; this graph has {has}")
    return {"op_types_to_quantize": list(kinds), "nodes_to_exclude": sorted(excluded), "per_channel": True}


def _excluded(model: onnx.ModelProto, names: tuple[str, ...]) -> set[str]:
    """The nodes that these names, of nodes or of operators, stand for."""
    nodes = model.graph.node
    if unknown := set(names) - {node.name for node in nodes} - {node.op_type for node in nodes}:
        known = ", ".join(f"{node.name} ({node.op_type})" for node in nodes)
        raise NotOptimised(f"exclude: the graph has no {', '.join(sorted(unknown))}; it has {known}")
    return {node.name for node in nodes if node.name in names or node.op_type in names}


def _made(target: Path) -> onnx.ModelProto:
    made = onnx.load(str(target))
    if not INT8 & operators(made).keys():
        raise NotOptimised("nothing here can be made int8: no weight of a linear layer or convolution is a constant")
    return made


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """The quantiser prints types that it does not know, and gives advice that was followed."""
    root = logging.getLogger()
    level = root.level
    root.setLevel(logging.ERROR)
    try:
        with contextlib.redirect_stdout(io.StringIO()):
            yield
    finally:
        root.setLevel(level)
