"""Members of the library as tests meet them: all of them, a few of their items, and each after one step of training."""

from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import pytest
import torch

import library
from library.base import Model, Part
from library.graphs.back import as_served
from library.graphs.export import export
from library.training.epochs import Training
from library.training.objectives import as_texts

MODELS = list(library.models().values())
DATA_SETS = list(library.data_sets().values())
TRAINABLE = [model for model in MODELS if model.config.model_json_schema()["properties"]["epochs"]["maximum"]]
each_trainable = pytest.mark.parametrize("model", TRAINABLE, ids=lambda model: model.name)
each_model = pytest.mark.parametrize("model", MODELS, ids=lambda model: model.name)
each_data_set = pytest.mark.parametrize("dataset", DATA_SETS, ids=lambda dataset: dataset.name)


@cache
def parts_of(name: str) -> dict[Part, dict[str, Any]]:
    """The parts of a data set, read once a process: some take seconds."""
    return library.data_set(name).few_parts()


@cache
def sample(name: str, part: Part, count: int) -> dict[str, Any]:
    """Items from all over the part, of its least target to its greatest: many data sets are in order of time or class,
    and some classes are rare.
    """
    items = parts_of(name)[part]
    target = items[library.data_set(name).schema.target.name]
    order = np.argsort(target.reshape(len(target), -1)[:, 0], kind="stable")
    chosen = order[np.linspace(0, len(target) - 1, count).astype(int)]
    return {column: values[chosen] for column, values in items.items()}


def train_one_step(model: Model[Any]) -> Training:
    """Of a model that cannot be trained, only begun."""
    config = model.validate({"epochs": int(model in TRAINABLE)})
    few = sample(model.dataset, Part.TRAIN, min(config.batch_size, model.rows))
    training = Training(model, config, 7, few, few)
    for _ in range(config.epochs):
        training.run_epoch(lambda: None)
    return training


@cache
def first_step(model: Model[Any]) -> Training:
    """One for all who only look at it."""
    return train_one_step(model)


@cache
def exported(model: Model[Any]) -> bytes:
    """The file of that one."""
    with TemporaryDirectory() as folder:
        assert export(model, first_step(model).module, Path(folder) / "model.onnx") == model.signature
        return (Path(folder) / "model.onnx").read_bytes()


def all_outputs(model: Model[Any], module: torch.nn.Module, items: dict[str, Any]) -> list[Any]:
    """Texts come out of a module as bytes, and out of a graph as texts."""
    with torch.no_grad():
        found = model.served(module).eval()(*model.inputs(items))
    made = found if isinstance(found, tuple) else (found,)
    if model.back(module) is not None:
        return as_served(model, module, [output.numpy() for output in made], items)
    outputs = zip(model.signature.outputs, made, strict=True)
    return [np.array(as_texts(out), object) if spec.datatype == "BYTES" else out.numpy() for spec, out in outputs]


def assert_equal(found: Any, expected: Any) -> None:
    if expected.dtype == object:
        assert found.tolist() == expected.tolist()
    else:
        np.testing.assert_allclose(found, expected, atol=1e-5)


def served_outputs(model: Model[Any], module: torch.nn.Module, items: dict[str, Any]) -> Any:
    """The first, which is the one that is scored."""
    return all_outputs(model, module, items)[0]
