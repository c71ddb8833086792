"""The process that looks into a file that somebody brought: an ONNX model, or a version exported as one file.

It limits its own memory and time and leaves the network before it reads anything, loads nothing but ONNX, and says
which tensors there are.
"""

import resource
from pathlib import Path
from typing import Any

from services.registry import archive, formats
from shared import child
from shared.events.common import Signature, TensorSpec
from shared.isolation import isolate
from shared.worker import Reporter, Result

MODEL = "model.onnx"
OTHER_SIZES = (1, 8, 64, 224)
MOST_TENSORS = 64
MAX_ZEROS = 64 * 1024 * 1024
DOMAINS = frozenset({"", "ai.onnx", "ai.onnx.ml", "com.microsoft"})
EXTERNAL_OPERATORS = frozenset({"EPContext"})
FIRST_IR, FIRST_OPSET = 3, 7


class Refused(Exception):
    """The file is not what can be served; the message is for the one who brought it."""


def main(spec: dict[str, Any], reporter: Reporter) -> Result:
    """Check the file that the spec names."""
    limit(spec["memory"], spec["cpu_seconds"], spec["file_bytes"])
    path, manifest = Path(spec["file"]), None
    if spec["kind"] == "archive":
        manifest = archive.unpack(path, Path(MODEL), spec["file_bytes"])
        path = Path(MODEL)
    facts = check(path)
    return Result(files={"model": path.name}, data=facts | {"manifest": manifest})


def limit(memory: int, cpu_seconds: int, file_bytes: int) -> None:
    """What is beyond these limits ends this process, not the service; no network is within them, and no program."""
    resource.setrlimit(resource.RLIMIT_AS, (memory, memory))
    resource.setrlimit(resource.RLIMIT_CPU, (cpu_seconds, cpu_seconds))
    resource.setrlimit(resource.RLIMIT_FSIZE, (file_bytes, file_bytes))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    isolate()


def check(path: Path) -> dict[str, Any]:
    """Signature and origin of an ONNX file; raises Refused."""
    content = path.read_bytes()
    if found := formats.foreign(content[:512]):
        raise Refused(f"this is {found}; a model comes as an ONNX file")
    model = _parse(content)
    _check_header(model)
    _check_parts(model)
    signature = _run(content)
    opset = next(item.version for item in model.opset_import if item.domain in ("", "ai.onnx"))
    return {
        "signature": signature.model_dump(mode="json"),
        "producer": f"{model.producer_name} {model.producer_version}".strip()[:100],
        "opset": opset,
    }


def _parse(content: bytes) -> Any:
    from google.protobuf.message import DecodeError
    from onnx import ModelProto

    try:
        return ModelProto.FromString(content)
    except DecodeError:
        raise Refused("this is no ONNX file: it cannot be read as one") from None


def _check_header(model: Any) -> None:
    import onnx

    if not model.HasField("graph") or not model.graph.output:
        raise Refused("this is no ONNX file: it holds no graph with outputs")
    if not FIRST_IR <= model.ir_version <= onnx.IR_VERSION:
        raise Refused(f"its IR version is {model.ir_version}, supported are {FIRST_IR} to {onnx.IR_VERSION}")
    opsets = [item.version for item in model.opset_import if item.domain in ("", "ai.onnx")]
    last = onnx.defs.onnx_opset_version()
    if len(opsets) != 1 or not FIRST_OPSET <= opsets[0] <= last:
        raise Refused(f"its opset is {opsets[0] if opsets else 'missing'}, supported are {FIRST_OPSET} to {last}")


def _check_parts(model: Any) -> None:
    """Walk over every message of the file, functions and nested graphs too."""
    known = DOMAINS | {function.domain for function in model.functions}
    waiting = [model]
    while waiting:
        message = waiting.pop()
        _check_part(message, known)
        for field, value in message.ListFields():
            if field.message_type is not None:
                waiting.extend(value if field.is_repeated else [value])


def _check_part(message: Any, known: frozenset[str]) -> None:
    kind = message.DESCRIPTOR.name
    if kind == "TensorProto" and (message.data_location or message.external_data):
        raise Refused(
            f"tensor '{message.name[:64]}' lies outside the file (external data); save the model with its weights"
        )
    if kind == "NodeProto" and (message.domain not in known or message.op_type in EXTERNAL_OPERATORS):
        raise Refused(f"operator '{message.domain[:64]}.{message.op_type[:64]}' is not one that can be served")


def _run(content: bytes) -> Signature:
    """What onnxruntime takes and gives, proved by a run on zeros."""
    import onnx
    import onnxruntime as runtime

    try:
        onnx.checker.check_model(content)
    except Exception as error:
        raise Refused(f"the ONNX checker refuses it: {_first_line(error)}") from None
    options = runtime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 4
    try:
        session = runtime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
    except Exception as error:
        raise Refused(f"onnxruntime cannot load it: {_first_line(error)}") from None
    return _signature(session)


def _signature(session: Any) -> Signature:
    inputs = tuple(_spec("input", item) for item in session.get_inputs())
    if not inputs:
        raise Refused("it takes no input")
    if max(len(inputs), len(session.get_outputs())) > MOST_TENSORS:
        raise Refused(f"it has more than {MOST_TENSORS} inputs or outputs")
    outputs = tuple(_spec("output", item) for item in session.get_outputs())
    given = _first_that_runs(session, inputs)
    outputs = tuple(_with_rank(spec, array) for spec, array in zip(outputs, given, strict=True))
    signature = Signature(inputs=inputs, outputs=outputs)
    _check_names(signature)
    _check_batch(session, signature)
    return signature


def _spec(kind: str, item: Any) -> TensorSpec:
    datatype = formats.DATATYPES.get(item.type)
    if datatype is None:
        raise Refused(f"{kind} '{item.name[:64]}' is a {item.type[:64]}; only tensors of these can be served")
    if kind == "input" and not item.shape:
        raise Refused(f"input '{item.name[:64]}' has no dimensions: give it a batch axis, or at least one")
    shape = tuple(size if isinstance(size, int) and size >= 0 else -1 for size in item.shape)
    return TensorSpec(name=item.name, datatype=datatype, shape=shape)


def _with_rank(spec: TensorSpec, array: Any) -> TensorSpec:
    """An output whose rank only its run tells."""
    rank = getattr(array, "ndim", None)
    if not rank:
        raise Refused(f"output '{spec.name[:64]}' has no dimensions: give it a batch axis, or at least one")
    return spec if spec.shape else spec.model_copy(update={"shape": (-1,) * rank})


def _check_names(signature: Signature) -> None:
    for spec in (*signature.inputs, *signature.outputs):
        if not spec.name.isprintable() or not 1 <= len(spec.name) <= 256:
            raise Refused(f"the tensor name {spec.name[:64]!r} is not printable or too long")
    for specs in (signature.inputs, signature.outputs):
        if len({spec.name for spec in specs}) < len(specs):
            raise Refused("two of its inputs or two of its outputs have one name")


def _first_that_runs(session: Any, inputs: tuple[TensorSpec, ...]) -> list[Any]:
    """A run of one row; free axes beyond the batch get a size that the model takes."""
    has_free_axes = any(-1 in spec.shape[1:] for spec in inputs)
    problem = ""
    for size in OTHER_SIZES if has_free_axes else OTHER_SIZES[:1]:
        try:
            found: list[Any] = session.run(None, {spec.name: _zeros(spec, 1, size) for spec in inputs})
        except Refused:
            raise
        except Exception as error:
            problem = problem or _first_line(error)
        else:
            return found
    raise Refused(f"a run on zeros failed: {problem}")


def _check_batch(session: Any, signature: Signature) -> None:
    """Where every first axis is free it is taken as the batch, so two rows must give two."""
    if not all(spec.shape[:1] == (-1,) for spec in (*signature.inputs, *signature.outputs)):
        return
    if any(-1 in spec.shape[1:] for spec in signature.inputs):
        return
    try:
        given = session.run(None, {spec.name: _zeros(spec, 2, 1) for spec in signature.inputs})
    except Exception as error:
        raise Refused(f"a run on two rows failed, though the first axis is free: {_first_line(error)}") from None
    for spec, array in zip(signature.outputs, given, strict=True):
        if array.shape[0] != 2:
            raise Refused(f"output '{spec.name[:64]}' gives {array.shape[0]} rows for two: its first axis is no batch")


def _zeros(spec: TensorSpec, batch: int, other: int) -> Any:
    import math

    import numpy as np

    from shared.tensors import DTYPES

    shape = [(other if axis else batch) if size == -1 else size for axis, size in enumerate(spec.shape)]
    if math.prod(shape) > MAX_ZEROS:
        raise Refused(f"input '{spec.name[:64]}' has {math.prod(shape)} elements, at most {MAX_ZEROS} can be served")
    if spec.datatype == "BYTES":
        return np.full(shape, "", dtype=object)
    return np.zeros(shape, DTYPES[spec.datatype])


def _first_line(error: Exception) -> str:
    """What the library says, short; where it says it does not matter."""
    return str(error).strip().partition("\n")[0][:300]


if __name__ == "__main__":
    child.run(main)
