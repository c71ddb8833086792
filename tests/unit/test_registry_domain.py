"""The rules of promotion hold for whatever versions, champions and evaluations there are."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from services.registry.domain import (
    CHAMPION,
    Decision,
    Evaluation,
    Lineage,
    Outcome,
    Version,
    decide_alias,
    decide_promotion,
)
from shared.errors import Conflict
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
