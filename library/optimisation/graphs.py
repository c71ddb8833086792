"""ONNX graphs as optimisation sees them: read, run on rows, tidied, and compared."""

from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import onnx
import onnxruntime

from library.files import write_atomically
from library.graphs.front import as_text
from shared.errors import AimassError

if TYPE_CHECKING:
    from library.base import Arrays

BATCH: Final = 32


class NotOptimised(AimassError):
    """This graph cannot be optimised in this way."""

    code = "not_optimised"
    status = 422


def session(model: onnx.ModelProto, threads: int = 1) -> onnxruntime.InferenceSession:
    """A session on the processor that runs the graph as it will be served."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.log_severity_level = 3
    return onnxruntime.InferenceSession(model.SerializeToString(), options, ["CPUExecutionProvider"])


def batches(model: onnx.ModelProto, rows: "Arrays", most: int) -> "Iterator[Arrays]":
    """The first rows in the batches that the graph takes; raises NotOptimised where it takes other columns."""
    names = [item.name for item in model.graph.input]
    if missing := set(names) - rows.keys():
        raise NotOptimised(
            f"the data set has no column for input {', '.join(sorted(missing))}: it has {', '.join(rows)}"
        )
    size = _fixed_batch(model) or BATCH
    count = min(most, *(len(rows[name]) for name in names))
    whole = count - count % size if _fixed_batch(model) else count
    for start in range(0, whole, size):
        yield {name: as_text(rows[name][start : min(whole, start + size)]) for name in names}


def _fixed_batch(model: onnx.ModelProto) -> int:
    """How many rows a call must have; 0 where that is free."""
    sizes = (item.type.tensor_type.shape.dim for item in model.graph.input)
    return max((size[0].dim_value for size in sizes if size), default=0)


def operators(model: onnx.ModelProto) -> Counter[str]:
    return Counter(node.op_type for node in model.graph.node)


def interface(model: onnx.ModelProto) -> list[tuple[str, int, int]]:
    """Name, element type and rank of each input and output."""
    values = (*model.graph.input, *model.graph.output)
    return [(item.name, item.type.tensor_type.elem_type, len(item.type.tensor_type.shape.dim)) for item in values]


def tidied(model: onnx.ModelProto) -> onnx.ModelProto:
    """Without what tools leave behind: domains that no operator is of, and notes."""
    used = {node.domain for graph in _graphs(model.graph) for node in graph.node} | {""}
    kept = [entry for entry in model.opset_import if ("" if entry.domain == "ai.onnx" else entry.domain) in used]
    del model.opset_import[:]
    model.opset_import.extend(kept)
    del model.metadata_props[:]
    model.producer_name, model.producer_version = "aimass", ""
    return model


def _graphs(graph: onnx.GraphProto) -> Iterator[onnx.GraphProto]:
    yield graph
    for node in graph.node:
        for attribute in node.attribute:
            for inner in (*attribute.graphs, *([attribute.g] if attribute.HasField("g") else [])):
                yield from _graphs(inner)


def write(model: onnx.ModelProto, path: Path) -> None:
    write_atomically(path, model.SerializeToString(deterministic=True))


def differences(before: onnx.ModelProto, after: onnx.ModelProto, rows: "Arrays", most: int) -> dict[str, float]:
    """How far the first outputs of two graphs are apart on the same rows.

    `agreement` is the share of rows with the same highest score, or the same value where there are no scores.
    """
    one, other = session(before), session(after)
    pairs = [(one.run(None, batch)[0], other.run(None, batch)[0]) for batch in batches(before, rows, most)]
    if not pairs:
        return {}
    left, right = (np.concatenate([pair[side] for pair in pairs]) for side in (0, 1))
    if left.dtype.kind != "f":
        return {"agreement": float(np.mean(left == right))}
    if not np.isfinite(right).all():
        raise NotOptimised("what came out answers with what is not a number")
    return _apart(left.astype("f8"), right.astype("f8"))


def _apart(left: Any, right: Any) -> dict[str, float]:
    found = {"max_difference": float(np.abs(left - right).max()), "mean_difference": float(np.abs(left - right).mean())}
    if left.ndim == 2 and left.shape[1] > 1:
        found["agreement"] = float(np.mean(left.argmax(axis=1) == right.argmax(axis=1)))
    return found
