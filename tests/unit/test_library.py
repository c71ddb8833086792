"""Every member of the library keeps the library's promises; adding a member adds it here by itself."""

import subprocess
import sys
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import library
from library.base import Config, DataSet, Model, Part, TaskType
from library.files import pack, unpack
from library.graphs.export import export
from library.graphs.front import as_text
from library.networks.layers import Restore, Standardise
from library.preparation import digest_of
from library.training.epochs import Training
from library.training.objectives import FINISHES, LOSSES, METRICS
from services.evaluator.engine import JUDGES
from shared.errors import InvalidInput, NotFound
from shared.names import is_slug
from shared.tensors import datatype_of
from tests.unit.members import (
    TRAINABLE,
    all_outputs,
    assert_equal,
    each_data_set,
    each_model,
    each_trainable,
    exported,
    first_step,
    parts_of,
    sample,
    served_outputs,
    train_one_step,
)
from tests.unit.task_process import ROOT

pytestmark = pytest.mark.library
AT_CHANCE = {"direction", "ctr"}
"""Where there is hardly anything to be foretold: the gate refuses only what is worse than the commonest class."""


def test_declarations_are_read_without_heavy_packages() -> None:
    code = """
import sys, library
for model in library.models().values():
    model.describe(), model.validate({})
for dataset in library.data_sets().values():
    dataset.schema, dataset.split
print(*{"torch", "sklearn", "onnx", "numpy"} & set(sys.modules))
"""
    found = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert found.stdout.strip() == ""


def test_an_unknown_member_is_not_found_and_the_answer_names_those_there_are() -> None:
    with pytest.raises(NotFound, match="no model 'nope'; it has .*digits-cnn"):
        library.model("nope")
    with pytest.raises(NotFound, match="no data set 'nope'; it has .*digits"):
        library.data_set("nope")


@each_model
def test_a_model_declares_all_that_people_need(model: Model[Any]) -> None:
    told = model.describe()
    assert is_slug(model.name)
    assert model.code_version
    assert told.signature.inputs
    assert told.signature.outputs
    assert all(spec.shape[0] == -1 for spec in told.signature.inputs + told.signature.outputs)
    assert type(told).model_validate_json(told.model_dump_json()) == told


@each_model
def test_every_field_of_a_config_has_a_default_and_a_range(model: Model[Any]) -> None:
    schema = model.config.model_json_schema()
    assert schema["additionalProperties"] is False
    assert not schema.get("required")
    for name, field in schema["properties"].items():
        assert "enum" in field or {"minimum", "maximum"} <= field.keys() or field["type"] == "boolean", name
        if field.get("x-scale") == "log":
            assert field["minimum"] > 0, name


@each_model
def test_a_config_outside_its_ranges_is_refused_by_the_name_of_the_field(model: Model[Any]) -> None:
    assert model.validate({}) == model.config()
    for wrong in ({"epochs": -1}, {"learning_rate": float("nan")}, {"no_such_field": 1}):
        with pytest.raises(InvalidInput) as refused:
            model.validate(wrong)
        assert refused.value.field == f"config.{next(iter(wrong))}"


@each_model
def test_a_model_fits_its_data_set(model: Model[Any]) -> None:
    dataset = library.data_set(model.dataset)
    features = {feature.name: feature for feature in dataset.schema.features}
    assert model.labels == dataset.labels or (model.task_type is TaskType.EMBEDDING and not model.labels)
    for spec in model.signature.inputs:
        column = features[spec.name]
        assert spec.datatype == column.datatype
        assert all(want in (-1, size) for want, size in zip(spec.shape[1:], column.shape, strict=True))


@each_model
def test_the_gate_asks_only_for_figures_that_the_evaluator_measures(model: Model[Any]) -> None:
    perfect = JUDGES[model.task_type](*right_answers(model), model.labels)
    assert all(condition.metric in perfect for condition in model.gate.conditions)
    assert model.gate.passes(perfect)


def right_answers(model: Model[Any]) -> tuple[Any, Any]:
    """Truth, and outputs that are right; nothing is as right as speech but speech."""
    if model.task_type is TaskType.TRANSCRIPTION:
        return np.array([b"he was", b"not a"]), np.array([b"He was,", b"not a."])
    if model.task_type is TaskType.SPEECH:
        voice = library.model("tts-voice")
        return np.array([b"hello world"]), served_outputs(voice, first_step(voice).module, voice.example())
    if model.task_type is TaskType.TAGGING:
        return (tags := np.array([[1, 2, 0, 3], [3, 4, 0, 0]])), tags
    kinds = len(model.labels) or 3
    classes = np.repeat(np.arange(kinds), 11)
    return classes, classes.astype(float) if model.task_type is TaskType.REGRESSION else np.eye(kinds)[classes]


@each_model
def test_the_gate_refuses_what_needs_no_training(model: Model[Any]) -> None:
    """The commonest class, the mean, the text of another item, or silence."""
    dataset = library.data_set(model.dataset)
    train, test = (parts_of(dataset.name)[part][dataset.schema.target.name] for part in (Part.TRAIN, Part.TEST))
    if model.task_type is TaskType.EMBEDDING:
        test = sample(dataset.name, Part.TEST, 400)[dataset.schema.target.name]
    guess = np.atleast_1d(GUESSES.get(model.task_type, _frequency)(model, train))
    scores = JUDGES[model.task_type](test, np.tile(guess, (len(test), 1)), model.labels)
    passed = [condition for condition in model.gate.conditions if condition.holds(scores)]
    assert passed == ([*model.gate.conditions] if model.name in AT_CHANCE else [])


def _frequency(model: Model[Any], train: Any) -> Any:
    """How often each class, or each thing that is ranked, was right."""
    greatest = library.data_set(model.dataset).schema.target.maximum or 0
    count = max(model.signature.outputs[0].shape[-1], int(greatest) + 1)
    return np.bincount(train[train >= 0].ravel(), minlength=count) / len(train)


GUESSES: dict[TaskType, Callable[[Model[Any], Any], Any]] = {
    TaskType.REGRESSION: lambda _, train: train.mean(axis=0),
    TaskType.TRANSCRIPTION: lambda _, train: train[0],
    TaskType.SPEECH: lambda *_: np.zeros(100, "f4"),
    TaskType.TAGGING: lambda *_: np.zeros(1, int),
}


@each_model
def test_a_baseline_answers_as_the_model_does(model: Model[Any]) -> None:
    if model.baseline is None:
        return
    target = library.data_set(model.dataset).schema.target.name
    count = 2 if model.task_type in (TaskType.TRANSCRIPTION, TaskType.SPEECH) else 400
    train, test = (sample(model.dataset, part, count) for part in (Part.TRAIN, Part.TEST))
    outputs = np.asarray(model.baseline_outputs(train, test))
    if model.task_type is not TaskType.EMBEDDING:
        assert is_of(outputs.shape[1:], model.signature.outputs[0].shape[1:])
    assert model.baseline.metric in JUDGES[model.task_type](test[target], outputs, model.labels)


@each_trainable
def test_a_step_of_training_changes_the_weights(model: Model[Any]) -> None:
    training = first_step(model)
    torch.manual_seed(0)
    fresh = model.build(model.validate({}))
    assert training.epoch == 1
    assert {"train_loss", "validation_loss", "learning_rate", "seconds"} < training.metrics.keys()
    trained = training.module.state_dict()
    assert any(not torch.equal(weights, trained[name]) for name, weights in fresh.state_dict().items())


@each_trainable
def test_a_checkpoint_brings_back_the_same_model(model: Model[Any], tmp_path: Path) -> None:
    training = first_step(model)
    training.save(tmp_path / "checkpoint.safetensors")
    again = train_one_step(model)
    for weights in again.module.parameters():
        torch.nn.init.zeros_(weights)
    again.resume(tmp_path / "checkpoint.safetensors")
    assert (again.epoch, again.metrics) == (training.epoch, training.metrics)
    np.testing.assert_array_equal(
        served_outputs(model, again.module, model.example()), served_outputs(model, training.module, model.example())
    )


@each_model
def test_the_exported_file_answers_as_the_module_for_any_batch(model: Model[Any]) -> None:
    content = exported(model)
    domains = [opset.domain for opset in onnx.load_from_string(content).opset_import]
    assert len(domains) == len(set(domains)), "a version that is exported could not be imported"
    session = onnxruntime.InferenceSession(content, providers=["CPUExecutionProvider"])
    items = sample(model.dataset, Part.VALIDATION, 7)
    for count in (1, 2, 7) if model in TRAINABLE else (2,):
        inputs = {spec.name: items[spec.name][:count] for spec in model.signature.inputs}
        outputs = session.run(
            [spec.name for spec in model.signature.outputs], {name: as_text(column) for name, column in inputs.items()}
        )
        for output, expected in zip(outputs, all_outputs(model, first_step(model).module, inputs), strict=True):
            assert_equal(output, expected)


@each_model
def test_an_exported_file_tells_no_path(model: Model[Any]) -> None:
    written = without_weights(exported(model))
    assert str(ROOT).encode() not in written
    assert b".py" not in written


def without_weights(content: bytes) -> bytes:
    """The graph without what holds any letters by chance."""
    graph = onnx.load_from_string(content)
    for weights in graph.graph.initializer:
        weights.ClearField("raw_data")
    return graph.SerializeToString()


@each_trainable
def test_the_same_weights_export_to_the_same_bytes(model: Model[Any], tmp_path: Path) -> None:
    export(model, train_one_step(model).module, tmp_path / "again")
    assert exported(model) == (tmp_path / "again").read_bytes()


@each_model
def test_the_example_is_an_input_that_a_client_could_send(model: Model[Any]) -> None:
    example = model.example()
    assert list(example) == [spec.name for spec in model.signature.inputs]
    for spec in model.signature.inputs:
        array = example[spec.name]
        assert (datatype_of(array.dtype), array.shape[0]) == (spec.datatype, 1)
        assert is_of(array.shape, spec.shape)
    answer = served_outputs(model, model.build(model.validate({})).eval(), example)
    assert answer.dtype == object or np.isfinite(answer).all()


def is_of(shape: tuple[int, ...], declared: tuple[int, ...]) -> bool:
    """Whether it is that shape, where -1 is any size."""
    return len(shape) == len(declared) and all(want in (-1, size) for want, size in zip(declared, shape, strict=True))


tables = st.lists(st.lists(st.floats(-1e3, 1e3, width=32), min_size=3, max_size=3), min_size=2, max_size=30)


@given(tables)
def test_a_standardised_table_has_mean_0_and_deviation_1_and_comes_back(rows: list[list[float]]) -> None:
    table = torch.tensor(rows)
    there, back = Standardise(3), Restore(3)
    there.measure(table)
    back.measure(table)
    found = there(table)
    changes = table.double().std(dim=0, correction=0) > 1e-2
    assert torch.isfinite(found).all()
    deviation = found.double().std(dim=0, correction=0)[changes]
    torch.testing.assert_close(deviation, torch.ones_like(deviation), atol=1e-2, rtol=0)
    torch.testing.assert_close(back(found), table, atol=1e-2, rtol=1e-4)


@pytest.mark.parametrize("outputs", [[1.0, 2.0, 6.0], [[1.0], [2.0], [6.0]]])
def test_regression_compares_item_by_item_whatever_the_outputs_rank(outputs: list[Any]) -> None:
    target, found = torch.tensor([1.0, 2.0, 3.0]), torch.tensor(outputs)
    assert LOSSES[TaskType.REGRESSION](found, target).item() == pytest.approx(3.0)
    assert METRICS[TaskType.REGRESSION](found, target) == {"rmse": pytest.approx(3**0.5), "mae": pytest.approx(1.0)}


def test_every_task_type_has_all_that_a_member_may_leave_out() -> None:
    for table in (METRICS, FINISHES, JUDGES):
        assert set(table) == set(TaskType)
    assert set(LOSSES) == set(TaskType) - {TaskType.TRANSCRIPTION, TaskType.SPEECH}


def test_where_nothing_is_trained_there_is_no_loss_to_tell() -> None:
    model = library.model("asr-tiny")
    one = sample(model.dataset, Part.VALIDATION, 1)
    training = Training(model, model.validate({}), 0, one, one)
    training.validate()
    assert training.metrics.keys() == {"validation_word_error_rate"}
    with pytest.raises(NotImplementedError, match="asr-tiny names no loss"):
        model.loss(torch.zeros(1), torch.zeros(1))


@each_data_set
def test_a_data_set_has_the_columns_that_its_schema_says(dataset: DataSet) -> None:
    columns = (*dataset.schema.features, dataset.schema.target)
    assert dataset.source
    assert dataset.licence
    for items in parts_of(dataset.name).values():
        assert list(items) == [column.name for column in columns]
        for column in columns:
            array = items[column.name]
            assert datatype_of(array.dtype) == column.datatype
            assert is_of(array.shape[1:], column.shape)
            assert column.columns == () or column.shape[-1] == len(column.columns)
            assert column.missing or array.dtype.kind != "f" or not np.isnan(array).any()
            assert column.minimum is None or np.nanmin(array) >= column.minimum
            assert column.maximum is None or np.nanmax(array) <= column.maximum


@each_data_set
def test_every_label_occurs_in_every_part(dataset: DataSet) -> None:
    for items in parts_of(dataset.name).values():
        found = np.unique(items[dataset.schema.target.name])
        assert not dataset.labels or found.tolist() == list(range(len(dataset.labels)))


@each_data_set
def test_the_parts_are_the_same_bytes_each_time(dataset: DataSet) -> None:
    first, second = (
        {part: sha256(pack(items)).digest() for part, items in parts.items()}
        for parts in (parts_of(dataset.name), dataset.few_parts())
    )
    assert first == second
    assert len(set(first.values())) == len(Part)


def test_packed_arrays_come_back(tmp_path: Path) -> None:
    arrays = {"image": np.arange(12, dtype="<f4").reshape(3, 4).T, "digit": np.array([1, 2, 3, 4])}
    (tmp_path / "items.npz").write_bytes(pack(arrays))
    found = unpack(tmp_path / "items.npz")
    assert list(found) == list(arrays)
    for name, array in arrays.items():
        np.testing.assert_array_equal(found[name], array)


def test_the_digest_of_a_data_set_changes_with_any_part() -> None:
    parts = {part: str(index) * 64 for index, part in enumerate(Part)}
    others = [parts | {part: "f" * 64} for part in Part]
    assert len({digest_of(parts), *map(digest_of, others)}) == len(Part) + 1


def test_a_config_is_frozen() -> None:
    with pytest.raises(ValueError, match="frozen"):
        Config().epochs = 3  # type: ignore[misc]
