"""Export to ONNX: one self-contained file whose bytes depend only on the weights, and its signature."""

import logging
import os
import warnings
from pathlib import Path
from typing import Any

import onnx
import onnx_ir
import torch
from onnx_ir.passes.common import ClearMetadataAndDocStringPass
from torch import nn

from library.base import Model
from library.files import write_atomically
from library.front import OPSET
from shared.events.common import Signature, TensorSpec
from shared.tensors import datatype_of


def export(model: Model[Any], module: nn.Module, path: Path) -> Signature:
    """Write the served form of a trained module; -1 in the declared signature becomes a free dimension."""
    graph = model.graph(module)
    write_atomically(path, graph.SerializeToString(deterministic=True))
    return signature_of(path)


def graph_of(model: Model[Any], module: nn.Module) -> onnx.ModelProto:
    """Front, served module and back of a member, as far as it has them."""
    back = model.back(module)
    program = _trace(model, model.served(module).eval(), _made(model, back))
    ClearMetadataAndDocStringPass()(program.model)
    return _with_back(model, _with_front(model, onnx_ir.to_proto(program.model)), back)


def signature_of(path: Path) -> Signature:
    """The tensors that an ONNX file takes and gives, in the terms of the Open Inference Protocol."""
    graph = onnx.load(os.fspath(path), load_external_data=False).graph
    return Signature(inputs=tuple(map(_spec, graph.input)), outputs=tuple(map(_spec, graph.output)))


def _with_front(model: Model[Any], body: onnx.ModelProto) -> onnx.ModelProto:
    if (front := model.front()) is None:
        return body
    return _joined(front, body, [output.name for output in front.graph.output])


def _with_back(model: Model[Any], body: onnx.ModelProto, back: onnx.ModelProto | None) -> onnx.ModelProto:
    if back is None:
        return body
    merged = _joined(body, back, [value.name for value in back.graph.input])
    outputs = {output.name: output for output in merged.graph.output}
    ordered = [outputs[spec.name] for spec in model.signature.outputs]
    del merged.graph.output[:]
    merged.graph.output.extend(ordered)
    return merged


def _joined(first: onnx.ModelProto, second: onnx.ModelProto, names: list[str]) -> onnx.ModelProto:
    merged = onnx.compose.merge_models(first, second, io_map=[(name, name) for name in names])
    versions = {opset.domain: opset.version for opset in merged.opset_import}  # merging names what both use twice
    del merged.opset_import[:]
    merged.opset_import.extend(onnx.helper.make_opsetid(*opset) for opset in versions.items())
    return merged


def _trace(model: Model[Any], served: nn.Module, outputs: list[str]) -> torch.onnx.ONNXProgram:
    logging.getLogger("torch.onnx").setLevel(logging.ERROR)
    taken = _taken(model)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)
        program = torch.onnx.export(
            served,
            tuple(tensor.repeat_interleave(2, dim=0) for tensor in model.inputs(model.example())),
            input_names=[spec.name for spec in taken],
            output_names=outputs,
            dynamic_shapes=(tuple(map(_free, taken)),),
            opset_version=OPSET,
            external_data=False,
            dynamo=True,
            verbose=False,
        )
    assert program is not None
    return program


def _taken(model: Model[Any]) -> tuple[TensorSpec, ...]:
    """What the module takes: the inputs of the signature, or what its front makes of them."""
    front = model.front()
    return model.signature.inputs if front is None else tuple(map(_spec, front.graph.output))


def _made(model: Model[Any], back: onnx.ModelProto | None) -> list[str]:
    """What the module makes: the outputs of the signature, or what its back turns into them."""
    pairs = zip(back.graph.output, back.graph.input, strict=True) if back else ()
    turned = {made.name: taken.name for made, taken in pairs}
    return [turned.get(spec.name, spec.name) for spec in model.signature.outputs]


def _free(spec: TensorSpec) -> dict[int, Any]:
    axes = [axis for axis, size in enumerate(spec.shape) if size == -1]
    return {axis: torch.export.Dim(f"{spec.name}_{axis}" if axis else "batch") for axis in axes}


def _spec(value: onnx.ValueInfoProto) -> TensorSpec:
    tensor = value.type.tensor_type
    shape = tuple(size.dim_value if size.HasField("dim_value") else -1 for size in tensor.shape.dim)
    dtype = onnx.helper.tensor_dtype_to_np_dtype(tensor.elem_type)
    return TensorSpec(name=value.name, datatype=datatype_of(dtype), shape=shape)
