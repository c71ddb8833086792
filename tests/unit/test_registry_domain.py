"""The rules of promotion hold for whatever versions, champions and evaluations there are."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from services.registry.domain import (
    CHAMPION,
    Decision,
    Described,
    Evaluation,
    Lineage,
    Outcome,
    Reference,
    Version,
    compare,
    decide_alias,
    decide_promotion,
    with_reference,
)
from shared.errors import Conflict, InvalidInput
from shared.events.common import GateCondition, Signature, TensorSpec
from shared.events.training import TrainingCompleted

DIGESTS = st.sampled_from(["a" * 64, "b" * 64, "c" * 64])
VERSIONS = st.builds(Version, number=st.integers(1, 4), digest=DIGESTS)
EVALUATIONS = st.builds(
    Evaluation,
    id=st.sampled_from(["e1", "e2"]),
    digest=DIGESTS,
    passed=st.booleans(),
    champion_digest=DIGESTS | st.just(""),
)
CHAMPIONS = st.none() | VERSIONS
KEEP = Decision(Outcome.KEEP)


@given(VERSIONS, CHAMPIONS, st.none() | EVALUATIONS, st.booleans())
def test_nothing_is_promoted_without_a_passing_evaluation_of_its_digest(
    candidate: Version, champion: Version | None, evaluation: Evaluation | None, compare: bool
) -> None:
    decision = decide_promotion(candidate, champion, evaluation, compare=compare)
    if decision.outcome is Outcome.POINT:
        assert evaluation is not None
        assert evaluation.passed
        assert evaluation.digest == candidate.digest


@given(VERSIONS, CHAMPIONS, EVALUATIONS)
def test_a_stale_comparison_never_promotes(
    candidate: Version, champion: Version | None, evaluation: Evaluation
) -> None:
    decision = decide_promotion(candidate, champion, evaluation)
    fresh = evaluation.champion_digest == (champion.digest if champion else "")
    assert fresh or decision.outcome is not Outcome.POINT
    assert not (decision.stale and fresh)


@given(VERSIONS, CHAMPIONS, st.none() | EVALUATIONS, st.booleans())
def test_a_refusal_says_why_and_nothing_else_does(
    candidate: Version, champion: Version | None, evaluation: Evaluation | None, compare: bool
) -> None:
    decision = decide_promotion(candidate, champion, evaluation, compare=compare)
    assert bool(decision.reason) == (decision.outcome is Outcome.REFUSE)


@given(VERSIONS, CHAMPIONS, EVALUATIONS)
def test_promotion_is_idempotent(candidate: Version, champion: Version | None, evaluation: Evaluation) -> None:
    if decide_promotion(candidate, champion, evaluation).outcome is Outcome.POINT:
        assert decide_promotion(candidate, candidate, evaluation) == KEEP


@given(VERSIONS, CHAMPIONS)
def test_a_passing_evaluation_against_the_present_champion_promotes(
    candidate: Version, champion: Version | None
) -> None:
    evaluation = Evaluation("e", candidate.digest, True, champion.digest if champion else "")
    wanted = Outcome.KEEP if champion and champion.number == candidate.number else Outcome.POINT
    assert decide_promotion(candidate, champion, evaluation).outcome is wanted


@given(st.lists(st.tuples(st.integers(1, 3), st.booleans(), st.integers(0, 3)), max_size=12))
def test_any_run_of_evaluations_leaves_a_champion_that_beat_its_predecessor(
    run: list[tuple[int, bool, int]],
) -> None:
    versions = {number: Version(number, f"{number:064x}") for number in (1, 2, 3)}
    champion: Version | None = None
    for number, passed, compared in run:
        candidate, against = versions[number], versions[compared].digest if compared else ""
        decision = decide_promotion(candidate, champion, Evaluation("e", candidate.digest, passed, against))
        if decision.outcome is Outcome.POINT:
            assert passed
            assert against == (champion.digest if champion else "")
            champion = candidate


@given(VERSIONS, CHAMPIONS, st.none() | EVALUATIONS, st.none() | st.integers(1, 4), st.sampled_from([CHAMPION, "beta"]))
def test_a_person_moves_an_alias_only_from_where_they_think_it_is(
    candidate: Version, pointing: Version | None, evaluation: Evaluation | None, expected: int | None, alias: str
) -> None:
    if expected is not None and expected != (pointing.number if pointing else None):
        with pytest.raises(Conflict, match="points at"):
            decide_alias(alias, candidate, pointing, evaluation, expected)
        return
    decision = decide_alias(alias, candidate, pointing, evaluation, expected)
    assert not decision.stale
    if alias != CHAMPION:
        is_there = pointing is not None and pointing.number == candidate.number
        assert decision.outcome is (Outcome.KEEP if is_there else Outcome.POINT)


@pytest.mark.parametrize("field", ["model", "digest", "task_id", "dataset", "dataset_digest"])
def test_a_training_without_lineage_is_not_registered(field: str) -> None:
    event = TrainingCompleted(task_id="t", model="m", digest="a" * 64, dataset="d", dataset_digest="b" * 64)
    assert Lineage.model_validate(event.model_dump()).model == "m"
    with pytest.raises(ValidationError):
        Lineage.model_validate(event.model_dump() | {field: ""})


@given(VERSIONS, CHAMPIONS, st.none() | EVALUATIONS, st.sampled_from([CHAMPION, "beta"]))
def test_force_moves_the_champion_and_says_so_only_where_the_rule_objects(
    candidate: Version, pointing: Version | None, evaluation: Evaluation | None, alias: str
) -> None:
    by_rule = decide_alias(alias, candidate, pointing, evaluation, None)
    forced = decide_alias(alias, candidate, pointing, evaluation, None, force=True)
    assert forced.outcome is not Outcome.REFUSE
    assert forced.forced == (by_rule.outcome is Outcome.REFUSE)
    assert (forced == by_rule) != forced.forced


@given(CHAMPIONS, st.none() | EVALUATIONS, st.booleans())
def test_an_archived_version_is_never_promoted(
    pointing: Version | None, evaluation: Evaluation | None, force: bool
) -> None:
    candidate = Version(9, "a" * 64, archived=True)
    assert decide_promotion(candidate, pointing, evaluation).outcome is Outcome.REFUSE
    for alias in (CHAMPION, "beta"):
        assert decide_alias(alias, candidate, pointing, evaluation, None, force=force).outcome is Outcome.REFUSE


def tensor(name: str, *shape: int, datatype: str = "FP32") -> TensorSpec:
    return TensorSpec(name=name, datatype=datatype, shape=shape)


IMAGE, OTHER = tensor("image", -1, 1, 8, 8), tensor("age", -1, 1)
SCORES = tensor("scores", -1, 10)
GATE = (GateCondition(metric="accuracy", operator=">=", threshold=0.9),)
REFERENCE = Reference(
    model="cnn",
    version=3,
    task_type="image-classification",
    dataset="digits",
    dataset_digest="d" * 64,
    labels=("0", "1"),
    signature=Signature(inputs=(IMAGE, OTHER), outputs=(SCORES,)),
    gate=GATE,
)


def brought(inputs: tuple[TensorSpec, ...] = (IMAGE, OTHER), output: TensorSpec = SCORES, **facts: object) -> Described:
    signature = Signature(inputs=inputs, outputs=(output,))
    return Described.model_validate(
        {"model": "mine", "digest": "a" * 64, "source": "upload", "signature": signature} | facts
    )


@pytest.mark.parametrize(
    "like",
    [
        brought(),
        brought((OTHER, IMAGE)),
        brought(output=tensor("p", -1, -1)),
        brought(labels=("0", "1"), task_type="image-classification"),
    ],
)
def test_a_brought_version_is_evaluated_like_one_that_it_is_like(like: Described) -> None:
    for dataset in (None, "digits"):
        found = with_reference(like, [REFERENCE], dataset)
        assert (found.dataset, found.dataset_digest, found.gate) == ("digits", "d" * 64, GATE)
        assert (found.labels, found.task_type) == (("0", "1"), "image-classification")
        assert (found.model, found.digest) == ("mine", "a" * 64)


@pytest.mark.parametrize(
    "unlike",
    [
        brought((IMAGE,)),
        brought((tensor("image", -1, 3, 8, 8), OTHER)),
        brought((IMAGE, tensor("age", -1, 1, datatype="INT64"))),
        brought(output=tensor("scores", -1, 11)),
        brought(output=tensor("scores", -1)),
        brought(output=tensor("scores", -1, 10, datatype="FP64")),
        brought(labels=("1", "0")),
        brought(task_type="regression"),
    ],
)
def test_one_that_is_unlike_all_is_not_evaluated(unlike: Described) -> None:
    assert with_reference(unlike, [REFERENCE], None) == unlike
    with pytest.raises(InvalidInput, match="version 3 of 'cnn'") as refused:
        with_reference(unlike, [REFERENCE], "digits")
    assert refused.value.field == "dataset"


def test_a_data_set_without_versions_says_nothing_of_what_fits() -> None:
    with pytest.raises(InvalidInput, match="no version was trained on it"):
        with_reference(brought(), [], "digits")


def test_the_first_that_it_is_like_counts() -> None:
    unlike = Reference(**(vars(REFERENCE) | {"labels": ("x",), "dataset": "other"}))
    assert with_reference(brought(labels=("0", "1")), [unlike, REFERENCE], None).dataset == "digits"


def test_facts_are_compared_by_name() -> None:
    assert compare({"a": 1, "b": 2}, {"b": 3, "c": None}) == {"a": (1, None), "b": (2, 3), "c": (None, None)}
