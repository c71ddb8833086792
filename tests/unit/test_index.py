"""A search inside an artifact finds what a search through all finds, and says it by name."""

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from library.base import Model, PretrainedConfig, TaskType
from library.graphs.back import named
from library.graphs.export import export
from library.networks.index import Index
from library.networks.layers import Served
from shared.events.common import Signature, TensorSpec

THINGS, WIDTH, COUNT = 40, 6, 5
NAMES = [f"thing {number} – é" for number in range(THINGS)]


def vectors(seed: int, rows: int) -> Any:
    return np.random.default_rng(seed).normal(size=(rows, WIDTH)).astype("f4")


@given(st.integers(0, 200), st.integers(1, 7))
def test_the_nearest_are_those_of_the_greatest_cosine(seed: int, queries: int) -> None:
    things, asked = vectors(seed, THINGS), vectors(seed + 1, queries)
    numbers, scores = (found.numpy() for found in Index(torch.from_numpy(things), COUNT)(torch.from_numpy(asked)))
    lengths = np.linalg.norm(asked, axis=1)[:, None] * np.linalg.norm(things, axis=1)
    cosines = asked @ things.T / lengths
    np.testing.assert_array_equal(numbers, np.argsort(-cosines, axis=1)[:, :COUNT])
    np.testing.assert_allclose(scores, -np.sort(-cosines, axis=1)[:, :COUNT], atol=1e-6)


def test_an_index_holds_what_it_was_filled_with_last() -> None:
    index = Index(torch.zeros(1, WIDTH), 1)
    index.fill(torch.from_numpy(vectors(0, THINGS)))
    numbers, scores = index(torch.from_numpy(vectors(0, THINGS)) * 3)
    assert numbers[:, 0].tolist() == list(range(THINGS))
    assert scores[:, 0].numpy() == pytest.approx(1)


class Search(Model[PretrainedConfig]):
    """As small as a member that searches can be."""

    name = "search"
    task_type = TaskType.EMBEDDING
    signature = Signature(
        inputs=(TensorSpec(name="query", datatype="FP32", shape=(-1, WIDTH)),),
        outputs=(
            TensorSpec(name="found", datatype="BYTES", shape=(-1, COUNT)),
            TensorSpec(name="scores", datatype="FP32", shape=(-1, COUNT)),
        ),
    )
    config = PretrainedConfig

    def example(self) -> Any:
        return {"query": vectors(9, 1)}

    def build(self, config: PretrainedConfig) -> torch.nn.Module:
        return Index(torch.from_numpy(vectors(0, THINGS)), COUNT)

    def served(self, module: torch.nn.Module) -> torch.nn.Module:
        return Served(module, torch.nn.Identity())

    def back(self, module: torch.nn.Module) -> onnx.ModelProto:
        return named("numbers", "found", NAMES, COUNT)


def test_what_is_found_has_names_in_the_exported_file(tmp_path: Path) -> None:
    model = Search()
    assert export(model, model.build(PretrainedConfig()), tmp_path / "model.onnx") == model.signature
    session = onnxruntime.InferenceSession(tmp_path / "model.onnx", providers=["CPUExecutionProvider"])
    asked = vectors(3, 4)
    found, scores = session.run(None, {"query": asked})
    numbers, expected = model.build(PretrainedConfig())(torch.from_numpy(asked))
    assert found.tolist() == [[NAMES[number] for number in row] for row in numbers.tolist()]
    np.testing.assert_allclose(scores, expected.numpy(), atol=1e-6)
