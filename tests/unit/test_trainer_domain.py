"""What a training task is: complete, checked, and enough to train the same model again."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import library
from library.base import Model, PretrainedConfig
from services.trainer.domain import SEEDS, Plan, Trained, completed, plan, requested
from shared.errors import InvalidInput
from shared.events.common import Signature
from shared.events.training import TrainingCompleted

MODELS = st.sampled_from(list(library.models().values()))
TRAINABLE = st.sampled_from(
    [model for model in library.models().values() if not issubclass(model.config, PretrainedConfig)]
)
SEED = st.integers(0, SEEDS - 1)
EPOCHS = st.integers(1, 10_000)


@given(TRAINABLE, EPOCHS, SEED, st.booleans())
def test_a_plan_holds_every_parameter_and_trains_the_same_again(
    model: Model[Any], epochs: int, seed: int, auto_promote: bool
) -> None:
    accepted = plan(model, {"epochs": epochs, "seed": seed}, auto_promote)
    assert accepted.parameters.keys() == model.config.model_fields.keys() | {"seed"}
    assert (accepted.parameters["epochs"], accepted.seed) == (epochs, seed)
    assert accepted.config == model.validate({"epochs": epochs}).model_dump(mode="json")
    assert plan(model, accepted.parameters, auto_promote) == accepted


@given(MODELS)
def test_without_a_seed_the_same_request_gives_the_same_plan(model: Model[Any]) -> None:
    assert plan(model, {}, False) == plan(model, {}, False)


@given(MODELS, st.one_of(st.integers(max_value=-1), st.integers(SEEDS), st.booleans(), st.text(), st.floats()))
def test_no_other_seed_is_taken(model: Model[Any], seed: Any) -> None:
    with pytest.raises(InvalidInput) as caught:
        plan(model, {"seed": seed}, False)
    assert caught.value.field == "config.seed"
    assert caught.value.message.startswith("config.seed: ")


@given(TRAINABLE, st.integers().filter(lambda epochs: not 1 <= epochs <= 10_000))
def test_a_wrong_value_is_named_by_its_field(model: Model[Any], epochs: int) -> None:
    with pytest.raises(InvalidInput, match=r"config\.epochs: ") as caught:
        plan(model, {"epochs": epochs}, False)
    assert caught.value.field == "config.epochs"


@given(MODELS, st.text(min_size=1).filter(lambda name: name not in ("seed", "epochs")))
def test_an_unknown_field_is_named(model: Model[Any], name: str) -> None:
    if name in model.config.model_fields:
        return
    with pytest.raises(InvalidInput) as caught:
        plan(model, {name: 1}, False)
    assert caught.value.field == f"config.{name}"


@given(MODELS, SEED, st.booleans())
def test_a_plan_survives_its_row(model: Model[Any], seed: int, auto_promote: bool) -> None:
    accepted = plan(model, {"seed": seed}, auto_promote)
    assert Plan.model_validate(accepted.model_dump(mode="json")) == accepted


@given(MODELS, SEED, st.booleans(), st.dictionaries(st.text(), st.floats(allow_nan=False)))
def test_the_events_tell_what_was_planned_and_what_came_out(
    model: Model[Any], seed: int, auto_promote: bool, metrics: dict[str, float]
) -> None:
    done = plan(model, {"seed": seed}, auto_promote).model_copy(update={"dataset_digest": "d" * 64})
    asked = requested("train-1", done)
    assert (asked.seed, asked.parameters, asked.model) == (seed, done.parameters, model.name)
    trained = Trained(
        signature=Signature(), metrics=metrics, labels=model.labels, code_version=model.code_version, weights=1
    )
    said = completed("train-1", done, model, trained, "a" * 64)
    assert TrainingCompleted.model_validate_json(said.model_dump_json()) == said
    assert (said.dataset, said.dataset_digest) == (model.dataset, "d" * 64)
    assert (said.metrics, said.auto_promote, said.parameters) == (metrics, auto_promote, done.parameters)
    assert said.gate == model.gate.to_wire()
