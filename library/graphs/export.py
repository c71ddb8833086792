"""Export to ONNX: one self-contained file whose bytes depend only on the weights, and its signature."""

import logging
import os
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import onnx
import onnx_ir
import torch
from onnx_ir.passes.common import ClearMetadataAndDocStringPass
from torch import nn

from library.base import Model
from library.files import write_atomically
from library.graphs.front import OPSET, numbers_of, texts_of
from shared.events.common import Signature, TensorSpec
from shared.tensors import datatype_of


def export(model: Model[Any], module: nn.Module, path: Path) -> Signature:
    """Write the served form of a trained module; -1 in the declared signature becomes a free dimension."""
    write_atomically(path, model.graph(module).SerializeToString(deterministic=True))
    return signature_of(path)


def signature_of(path: Path) -> Signature:
    """The tensors that an ONNX file takes and gives, in the terms of the Open Inference Protocol."""
    graph = onnx.load(os.fspath(path), load_external_data=False).graph
    return Signature(inputs=tuple(map(_spec, graph.input)), outputs=tuple(map(_spec, graph.output)))


def graph_of(model: Model[Any], module: nn.Module) -> onnx.ModelProto:
    """Front, served module and back of a member, as far as it has them."""
    back = model.back(module)
    body = _bare(program_of(model, model.served(module), back))
    return _with_back(model, with_front(model, body), back)


def with_front(model: Model[Any], body: onnx.ModelProto) -> onnx.ModelProto:
    """The front of a member, where it has one, before a graph that takes what the front gives."""
    if (front := model.front()) is None:
        return body
    return _joined(front, body, numbers_of(front))


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


class _Apart(nn.Module):
    """Takes its inputs one by one, whatever names the module has for them."""

    def __init__(self, module: nn.Module) -> None:
        super().__init__()
        self.module = module

    def forward(self, *inputs: torch.Tensor) -> Any:
        return self.module(*inputs)


def program_of(model: Model[Any], served: nn.Module, back: onnx.ModelProto | None = None) -> torch.onnx.ONNXProgram:
    """The graph of a served module, with notes which part, below `module`, each operator comes from."""
    taken = _taken(model)
    tensors = (tensor.repeat_interleave(2, dim=0) for tensor in model.inputs(model.example()))
    inputs = {spec.name: tensor for spec, tensor in zip(taken, tensors, strict=True)}
    free = {spec.name: [axis for axis, size in enumerate(spec.shape) if size == -1] for spec in taken}
    return _program(served, inputs, _made(model, back), free)


def trace(
    module: nn.Module, inputs: Mapping[str, torch.Tensor], outputs: Sequence[str], free: Mapping[str, Sequence[int]]
) -> onnx.ModelProto:
    """The graph of a module without places of its source; `free` are the axes that may have any size, 0 the batch."""
    return _bare(_program(module, inputs, outputs, free))


def _program(
    module: nn.Module, inputs: Mapping[str, torch.Tensor], outputs: Sequence[str], free: Mapping[str, Sequence[int]]
) -> torch.onnx.ONNXProgram:
    logging.getLogger("torch.onnx").setLevel(logging.ERROR)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)
        program = torch.onnx.export(
            _Apart(module).eval(),
            tuple(inputs.values()),
            input_names=[*inputs],
            output_names=[*outputs],
            dynamic_shapes=(tuple(_dims(name, free.get(name, ())) for name in inputs),),
            opset_version=OPSET,
            external_data=False,
            dynamo=True,
            verbose=False,
        )
    assert program is not None
    return program


def _bare(program: torch.onnx.ONNXProgram) -> onnx.ModelProto:
    ClearMetadataAndDocStringPass()(program.model)
    return onnx_ir.to_proto(program.model)


def _dims(name: str, axes: Sequence[int]) -> dict[int, Any]:
    return {axis: torch.export.Dim(f"{name}_{axis}" if axis else "batch") for axis in axes}


def _taken(model: Model[Any]) -> tuple[TensorSpec, ...]:
    """What the module takes: the inputs of the signature, or what its front makes of them."""
    front = model.front()
    if front is None:
        return model.signature.inputs
    around = texts_of(front)
    return tuple(_spec(value) for value in front.graph.output if value.name not in around)


def _made(model: Model[Any], back: onnx.ModelProto | None) -> list[str]:
    """What the module makes: the outputs of the signature, or what its back turns into them, but for texts that come
    from the front.
    """
    pairs = zip(back.graph.output, back.graph.input, strict=True) if back else ()
    turned = {made.name: taken.name for made, taken in pairs}
    around = texts_of(model.front())
    names = (turned.get(spec.name, spec.name) for spec in model.signature.outputs)
    return [name for name in names if name not in around]


def _spec(value: onnx.ValueInfoProto) -> TensorSpec:
    tensor = value.type.tensor_type
    shape = tuple(size.dim_value if size.HasField("dim_value") else -1 for size in tensor.shape.dim)
    dtype = onnx.helper.tensor_dtype_to_np_dtype(tensor.elem_type)
    return TensorSpec(name=value.name, datatype=datatype_of(dtype), shape=shape)
