"""The graph as onnxruntime makes it when it loads it, kept: constants folded, operators fused."""

from pathlib import Path

import onnx
import onnxruntime

from library.optimisation.graphs import NotOptimised, operators

# One level more would lay out weights for the processor at hand, and the file would load nowhere else.
LEVEL = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_EXTENDED


def fused(model: onnx.ModelProto, folder: Path) -> onnx.ModelProto:
    """The same answers from fewer operators; raises NotOptimised where there is nothing to fuse."""
    target = folder / "fused.onnx"
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = LEVEL
    options.optimized_model_filepath = str(target)
    options.log_severity_level = 3
    onnxruntime.InferenceSession(model.SerializeToString(), options, ["CPUExecutionProvider"])
    made = onnx.load(str(target))
    if operators(made) == operators(model):
        raise NotOptimised("onnxruntime finds nothing to fold or to fuse in this graph")
    return made
