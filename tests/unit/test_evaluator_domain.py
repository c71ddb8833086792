"""A version passes when its gate holds and it keeps up with the champion, be more better or less."""

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import library
from library.base import Condition, Gate
from services.evaluator.domain import (
    ERROR_TOLERANCE,
    SCORE_TOLERANCE,
    Rivalry,
    Version,
    judge,
    member_of,
    rivalry,
    scalars,
)
from shared.events.common import Signature, TensorSpec

SCORE = Gate(conditions=(Condition(metric="accuracy", operator=">=", threshold=0),))
ERROR = Gate(conditions=(Condition(metric="rmse", operator="<=", threshold=1e12),))
fractions = st.floats(0, 1)
errors = st.floats(1e-6, 1e6)


@given(fractions, fractions)
def test_a_score_keeps_up_when_it_is_hardly_less(ours: float, theirs: float) -> None:
    found = judge(SCORE, {"accuracy": ours}, {"accuracy": theirs})
    assert found.passed == (theirs - ours <= SCORE_TOLERANCE)
    assert bool(found.reasons) != found.passed


@given(errors, errors)
def test_an_error_keeps_up_when_it_is_hardly_more(ours: float, theirs: float) -> None:
    found = judge(ERROR, {"rmse": ours}, {"rmse": theirs})
    assert found.passed == (ours - theirs <= ERROR_TOLERANCE * theirs)


@given(errors, errors, st.sampled_from([2.0**-10, 2.0**10]))
def test_the_unit_of_an_error_does_not_matter(ours: float, theirs: float, unit: float) -> None:
    plain = judge(ERROR, {"rmse": ours}, {"rmse": theirs})
    assert plain.passed == judge(ERROR, {"rmse": ours * unit}, {"rmse": theirs * unit}).passed


@given(st.sampled_from([SCORE, ERROR]), fractions)
def test_no_version_loses_against_itself(gate: Gate, value: float) -> None:
    metrics = {"accuracy": value, "rmse": value}
    assert judge(gate, metrics, metrics).passed


@pytest.mark.parametrize("champion", [None, {}, {"other": 1.0}])
def test_without_the_champions_figure_the_gate_alone_decides(champion: dict[str, float] | None) -> None:
    assert judge(SCORE, {"accuracy": 0.1}, champion).passed


@given(st.dictionaries(st.sampled_from(["accuracy", "macro_f1", "rmse"]), fractions), st.lists(fractions, min_size=1))
def test_alone_a_version_passes_when_every_condition_holds(metrics: dict[str, float], asked: list[float]) -> None:
    names = ["accuracy", "macro_f1"]
    conditions = [Condition(metric=names[i % 2], threshold=value) for i, value in enumerate(asked)]
    found = judge(Gate(conditions=tuple(conditions)), metrics, None)
    held = [metrics.get(each.metric, -1.0) >= each.threshold for each in conditions]
    assert found.passed == all(held)
    assert len(found.reasons) == held.count(False)


def test_reasons_say_what_was_found_and_what_was_asked() -> None:
    gate = Gate(conditions=(Condition(metric="rmse", operator="<=", threshold=5), Condition(metric="r2", threshold=0)))
    found = judge(gate, {"rmse": 6.0}, {"rmse": 4.0})
    assert found.reasons == (
        "rmse is 6.0000, the gate asks rmse <= 5",
        "r2 is missing, the gate asks r2 >= 0",
        "rmse is 6.0000, the champion has 4.0000",
    )


def test_only_single_figures_of_a_report_are_metrics() -> None:
    assert scalars({"rmse": 1.5, "items": 3, "matrix": [[1]], "ok": True}) == {"rmse": 1.5, "items": 3.0}


def test_only_a_champion_that_takes_the_same_is_a_rival() -> None:
    version = version_of("x", "y")
    assert version.takes_the_same(version_of("y", "x"))
    assert not version.takes_the_same(version_of("x"))
    assert not version.takes_the_same(version_of("x", "z"))


def test_a_baseline_answers_for_a_version_of_its_member_alone() -> None:
    facts = {"model": "diabetes-mlp", "dataset": "of-our-own", "task_type": "regression", "train_part": "d"}
    version, columns = replace(version_of("measures"), **facts), ("measures", "progression")
    catalogue = library.catalogue()
    assert member_of(version, columns, catalogue) is catalogue.models["diabetes-mlp"]
    assert member_of(version, ("measures", "diagnosis"), catalogue) is None
    others: list[dict[str, Any]] = [{"model": "mine"}, {"task_type": "ranking"}, {"train_part": ""}]
    for other in [*others, {"labels": ("a", "b")}]:
        assert member_of(replace(version, **other), columns, catalogue) is None


@given(errors, errors)
def test_a_baseline_is_beaten_as_its_declaration_says(ours: float, theirs: float) -> None:
    found = rivalry(library.model("diabetes-mlp"), {"rmse": ours}, {"rmse": theirs, "r2": 0.1})
    assert (found.metric, found.metrics, found.beaten) == ("rmse", {"rmse": theirs, "r2": 0.1}, ours < theirs)


def test_a_baseline_without_its_metric_is_not_beaten_and_without_a_member_there_is_none() -> None:
    member = library.model("diabetes-mlp")
    assert rivalry(member, {}, {"rmse": 1.0}).beaten is False
    assert rivalry(member, {"rmse": 1.0}, {}).beaten is False
    assert rivalry(None, {"rmse": 1.0}, {}) == Rivalry()


def version_of(*inputs: str) -> Version:
    signature = Signature(inputs=tuple(TensorSpec(name=name, datatype="FP32", shape=(-1, 2)) for name in inputs))
    facts: dict[str, Any] = dict.fromkeys(("project", "model", "digest", "task_type", "dataset"), "")
    facts |= {"dataset_digest": "", "train_part": "", "test_part": "", "labels": (), "gate": (), "auto_promote": False}
    return Version(version=1, signature=signature, **facts)
