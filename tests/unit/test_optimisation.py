"""What is done to graphs: the same tensors in and out, nearly the same answers, the same file each time."""

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import TypeAdapter, ValidationError

from library.files import pack
from library.optimisation import graphs, pruning
from library.optimisation.graphs import NotOptimised
from library.optimisation.process import optimise
from services.trainer.domain import improved, optimised
from shared.errors import Conflict, InvalidInput
from shared.optimisation import Optimisation
from shared.rpc.registry import VersionView
from shared.worker import Progress, Result
from tests.integration import onnx_models
from tests.integration.networks import Arrays, convolutions, graph, images, residual
from tests.integration.onnx_models import Served

WAYS: TypeAdapter[Any] = TypeAdapter(Optimisation)
ALL = ("graph", "int8-dynamic", "int8-static", "prune-channels", "prune-weights")


class Silent:
    """Takes reports and keeps how far the work said that it was."""

    def __init__(self) -> None:
        self.fractions: list[float] = []

    def send(self, report: Progress) -> None:
        self.fractions.append(report.fraction)


@pytest.fixture(autouse=True)
def without_limits(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The limits would hold for this process for good; they are tried on a stack."""
    monkeypatch.setattr("library.optimisation.process.restrict", lambda *_: None)
    monkeypatch.chdir(tmp_path)


def made(model: Served, rows: Arrays | None = None, **how: Any) -> Result:
    Path("given.onnx").write_bytes(model.onnx)
    file = None
    if rows is not None:
        file = "rows.npz"
        Path(file).write_bytes(pack(rows))
    spec = {"file": "given.onnx", "how": how, "calibration": file, "validation": file}
    return optimise(spec, Silent())  # type: ignore[arg-type]


def answers(model: onnx.ModelProto, rows: Arrays) -> Any:
    return graphs.session(model).run(None, rows)[0]


@pytest.mark.parametrize("method", ALL)
def test_each_way_keeps_the_tensors_and_makes_the_same_file_again(method: str) -> None:
    model, rows = convolutions(), images(64)
    result = made(model, rows, method=method)
    first = Path(result.files["model"]).read_bytes()
    given = onnx.ModelProto.FromString(first)
    onnx.checker.check_model(given)
    assert graphs.interface(given) == graphs.interface(graph(model))
    assert {entry.domain for entry in given.opset_import} <= {"", "com.microsoft"}
    metrics = result.data["metrics"]
    assert metrics["bytes"] == len(first)
    assert metrics["bytes_before"] == len(model.onnx)
    assert 0 <= metrics["mean_difference"] <= metrics["max_difference"]
    made(model, rows, method=method)
    assert Path("model.onnx").read_bytes() == first


def test_fused_graphs_answer_as_before() -> None:
    assert made(convolutions(), images(64), method="graph").data["metrics"]["max_difference"] < 1e-5


@pytest.mark.parametrize("method", ["int8-dynamic", "int8-static"])
def test_int8_is_smaller_and_nearly_agrees(method: str) -> None:
    metrics = made(convolutions(), images(256), method=method).data["metrics"]
    assert metrics["bytes"] < 0.8 * metrics["bytes_before"]
    assert metrics["agreement"] > 0.95


def test_static_convolutions_are_int8_and_dynamic_ones_are_not() -> None:
    made(convolutions(), method="int8-dynamic")
    dynamic = graphs.operators(onnx.load("model.onnx"))
    assert (dynamic["MatMulInteger"], dynamic["ConvInteger"], dynamic["Conv"]) == (2, 0, 2)
    made(convolutions(), images(32), method="int8-static", exclude=["Gemm", "second"])
    static = graphs.operators(onnx.load("model.onnx"))
    assert static["Gemm"] == 2
    held = {item.name for item in onnx.load("model.onnx").graph.initializer}
    assert {"w2", "w3", "w4"} <= held
    assert "w1" not in held


@settings(max_examples=20, deadline=None)
@given(st.sampled_from([0, 0.25, 0.5, 0.75]), st.integers(0, 1000))
def test_channels_without_weight_are_taken_out_without_a_trace(dead: float, seed: int) -> None:
    """Where as many weigh nothing, no answer changes; 32 channels go in blocks of 16, 12 one by one."""
    model, rows = convolutions(dead, seed), images(8, seed)
    pruned = pruning.without_channels(graph(model), 0.5)
    shapes = {item.name: tuple(item.dims) for item in pruned.graph.initializer}
    assert (shapes["w1"], shapes["w2"]) == ((16, 1, 3, 3), (6, 16, 3, 3))
    assert (shapes["b2"], shapes["w3"], shapes["w4"]) == ((6,), (8, 6 * 16), (4, 8))
    if dead >= 0.5:
        np.testing.assert_allclose(answers(pruned, rows), answers(graph(model), rows), atol=1e-5)


@settings(max_examples=20, deadline=None)
@given(st.floats(0.01, 0.99))
def test_the_smallest_weights_become_zero(share: float) -> None:
    pruned = pruning.without_weights(graph(convolutions()), share)
    weights = {item.name: onnx.numpy_helper.to_array(item) for item in pruned.graph.initializer}
    for name in ("w2", "w3"):
        assert np.mean(weights[name] == 0) == pytest.approx(share, abs=2 / weights[name].size + 1e-9)
    assert (weights["b1"] != 0).all()


def test_zeros_are_worth_something_only_when_packed() -> None:
    metrics = made(convolutions(), images(32), method="prune-weights", share=0.8).data["metrics"]
    assert metrics["bytes"] > 0.9 * metrics["bytes_before"]
    assert metrics["packed_bytes"] < 0.6 * metrics["packed_bytes_before"]


@pytest.mark.parametrize(
    ("model", "how", "words"),
    [
        (
            onnx_models.doubled(-1, 4),
            {"method": "int8-dynamic"},
            "nothing here can be made int8: .* this graph has Add",
        ),
        (onnx_models.doubled(-1, 4), {"method": "graph"}, "nothing to fold or to fuse"),
        (onnx_models.doubled(-1, 4), {"method": "prune-weights"}, "no weights can be set to zero"),
        (residual(), {"method": "prune-channels"}, "no channels can be taken out"),
        (convolutions(), {"method": "prune-channels", "share": 0.01}, "less than one of these channels"),
        (convolutions(), {"method": "int8-dynamic", "exclude": ["third"]}, r"no third; it has .*second \(Conv\)"),
        (convolutions(), {"method": "int8-static", "exclude": ["Conv", "Gemm"]}, "nothing here can be made int8"),
    ],
)
def test_what_cannot_be_done_is_said(model: Served, how: dict[str, Any], words: str) -> None:
    with pytest.raises(NotOptimised, match=words):
        made(model, images(32), **how)


def test_int8_is_not_made_int8_again() -> None:
    made(convolutions(), method="int8-dynamic")
    again = Served(Path("model.onnx").read_bytes(), convolutions().signature)
    with pytest.raises(NotOptimised, match="int8 already"):
        made(again, method="int8-dynamic")


def test_rows_without_the_columns_are_refused() -> None:
    with pytest.raises(NotOptimised, match="no column for input image: it has pixels"):
        made(convolutions(), {"pixels": np.zeros((4, 1, 8, 8), "f4")}, method="int8-static")


@pytest.mark.parametrize(
    "how",
    [{"method": "int4"}, {"method": "graph", "share": 0.5}, {"method": "prune-weights", "share": 1}, {"share": 1}],
)
def test_ways_that_are_none(how: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        WAYS.validate_python(how)


def test_a_plan_names_the_version_and_needs_rows_where_ranges_do() -> None:
    how = WAYS.validate_python({"method": "int8-static", "rows": 32})
    version = VersionView(model="cnn", version=3, digest="a" * 64, dataset="digits", dataset_digest="d" * 64)
    plan = improved(version, how, auto_promote=True)
    assert (plan.calibration, plan.file) == ("train", version.digest)
    assert (plan.parameters["version"], plan.parameters["method"]) == (3, "int8-static")
    event = optimised("optimise-1", plan, {"bytes": 5.0}, "b" * 64)
    assert (event.version, event.parameters["rows"], event.auto_promote) == (3, 32, True)
    with pytest.raises(InvalidInput, match="version 3 of 'cnn' has no data set") as refused:
        improved(version.model_copy(update={"dataset": ""}), how, auto_promote=False)
    assert refused.value.field == "how.method"
    with pytest.raises(Conflict, match="version 3 of 'cnn' is archived"):
        improved(version.model_copy(update={"archived": True}), how, auto_promote=False)
