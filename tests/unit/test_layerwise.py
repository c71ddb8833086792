"""The first layer whose output differs is named, whatever was done to the graph."""

from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from onnx import numpy_helper

import library
from library.base import Model
from library.graphs.export import export
from library.graphs.layerwise import WRAPPED, Apart, Layer, apart, first_beyond, layers_of
from library.optimisation.quantising import static
from shared.optimisation import Int8Static

pytestmark = pytest.mark.library
TOLERANCE = 1e-4
MEMBERS = ("fashion-resnet", "spam-filter")


@cache
def exported(name: str) -> tuple[Model[Any], torch.nn.Module, list[Layer], bytes]:
    """A member as it is before training, in its served form, with its layers, and its file."""
    torch.manual_seed(1)
    model = library.model(name)
    module = model.build(model.validate({}))
    with TemporaryDirectory() as folder:
        export(model, module, Path(folder) / "model.onnx")
        served = model.served(module).eval()
        return model, served, layers_of(model, served), (Path(folder) / "model.onnx").read_bytes()


def items(model: Model[Any]) -> dict[str, Any]:
    example = {name: np.repeat(array, 3, axis=0) for name, array in model.example().items()}
    random = np.random.default_rng(2)
    noisy = ("f", "u")
    return {
        name: (array + random.integers(0, 2, array.shape)).astype(array.dtype) if array.dtype.kind in noisy else array
        for name, array in example.items()
    }


def broken(content: bytes, weight: str, factor: float) -> onnx.ModelProto:
    graph = onnx.ModelProto.FromString(content)
    (tensor,) = (item for item in graph.graph.initializer if item.name == f"{WRAPPED}{weight}")
    tensor.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(tensor) * np.float32(factor), tensor.name))
    return graph


@pytest.mark.parametrize("name", MEMBERS)
def test_the_exported_file_agrees_layer_by_layer(name: str) -> None:
    model, served, layers, content = exported(name)
    found = apart(model, served, layers, onnx.ModelProto.FromString(content), items(model))
    assert len(found) >= 5
    assert found[-1].layer.path == "finish"
    assert first_beyond(found, TOLERANCE) is None


@pytest.mark.parametrize(
    ("name", "weight", "path", "kind"),
    [
        ("fashion-resnet", "module.14.bias", "module.14", "Linear"),
        ("fashion-resnet", "module.6.block.3.weight", "module.6.block.4", "BatchNorm2d"),
        ("fashion-resnet", "module.14.weight", "module.14", "Linear"),
        ("spam-filter", "module.0.vectors.weight", "module.0.vectors", "Embedding"),
        ("spam-filter", "module.2.weight", "module.2", "Linear"),
    ],
)
def test_a_broken_layer_is_named(name: str, weight: str, path: str, kind: str) -> None:
    """A normalisation that was folded into the convolution before it is named in its place."""
    model, served, layers, content = exported(name)
    found = apart(model, served, layers, broken(content, weight, 1.5), items(model))
    first = first_beyond(found, TOLERANCE)
    assert first is not None
    assert (first.layer.path, first.layer.kind) == (path, kind)
    assert first.difference > TOLERANCE


def test_another_operator_is_named() -> None:
    model, served, layers, content = exported("fashion-resnet")
    graph = onnx.ModelProto.FromString(content)
    relu = [node for node in graph.graph.node if node.op_type == "Relu"][1]
    relu.op_type = "Abs"
    first = first_beyond(apart(model, served, layers, graph, items(model)), TOLERANCE)
    assert first is not None
    assert first.layer.kind == "ReLU"
    assert first.layer.value == relu.output[0]


def test_a_quantised_file_is_compared_where_it_still_has_the_values(tmp_path: Path) -> None:
    model, served, layers, content = exported("fashion-resnet")
    rows = items(model)
    made = static(onnx.ModelProto.FromString(content), Int8Static(method="int8-static", rows=3), rows, tmp_path)
    found = apart(model, served, layers, made, rows)
    assert len(found) >= 5
    assert first_beyond(found, TOLERANCE) is not None
    assert first_beyond(found, 10) is None


def test_layers_stand_in_the_order_of_the_graph_and_end_in_values_of_their_own() -> None:
    _, _, layers, _ = exported("fashion-resnet")
    assert len({layer.value for layer in layers}) == len(layers)
    paths = [layer.path for layer in layers]
    assert paths.index("module.6.block.4") < paths.index("module.6") < paths.index("module.10")


def test_what_is_not_a_number_is_beyond_any_tolerance() -> None:
    assert Apart(Layer("a", "b", "c", "d"), float("nan"), 1.0).is_beyond(1e9)
    assert not Apart(Layer("a", "b", "c", "d"), 1e-5, 1.0).is_beyond(TOLERANCE)
