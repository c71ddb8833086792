"""Pipelines: what begins, what is left out, how the whole ends, and what is refused, whatever order things come in."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.trainer.pipelines.domain import (
    BREAKS,
    ENDED_BADLY,
    MOVES,
    Fact,
    PipelineState,
    Standing,
    StepState,
    changed,
    check,
    circle_of,
    decide,
    is_final,
    known,
    move,
    read_definition,
    why_it_waits,
)
from shared.errors import Conflict, InvalidInput

STATES = st.sampled_from(list(StepState))
ENDS = st.sampled_from([StepState.SUCCEEDED, StepState.FAILED, StepState.CANCELLED])
TRAIN = {"name": "train", "kind": "train", "model": "digits-cnn", "config": {"epochs": 3, "seed": 1}}
CHAIN = [
    TRAIN,
    {"name": "evaluate", "kind": "evaluate", "of": "train"},
    {"name": "promote", "kind": "promote", "of": "evaluate"},
    {"name": "deploy", "kind": "deploy", "of": "promote"},
]


@st.composite
def graphs(draw: st.DrawFn) -> list[Standing]:
    """Steps that wait for some of those before them."""
    count = draw(st.integers(1, 8))
    names = [f"s{number}" for number in range(count)]
    afters = [draw(st.sets(st.sampled_from(names[:at]))) if at else set() for at in range(count)]
    return [Standing(name, tuple(sorted(after))) for name, after in zip(names, afters, strict=True)]


class Run:
    """A pipeline that goes on as its driver has it go, step by step."""

    def __init__(self, steps: Sequence[Standing], on_failure: str) -> None:
        self.steps = {step.name: step for step in steps}
        self.on_failure = on_failure
        self.ending: PipelineState | None = None
        self.ended: PipelineState | None = None

    def to(self, name: str, state: StepState) -> None:
        move(self.steps[name].state, state)
        self.steps[name] = replace(self.steps[name], state=state)

    def go_on(self) -> None:
        while self.ended is None:
            decision = decide(list(self.steps.values()), self.on_failure, self.ending)
            self.ending, self.ended = decision.ending, decision.ended
            for name in decision.begin:
                assert all(self.steps[other].state is StepState.SUCCEEDED for other in self.steps[name].after)
                assert self.ending is None
                self.to(name, StepState.RUNNING)
            for name in decision.skip:
                self.to(name, StepState.SKIPPED)
            for name in [name for name in decision.stop if self.steps[name].state is StepState.WAITING]:
                self.to(name, StepState.CANCELLED)
            if not (decision.begin or decision.skip) and decision.ended is None:
                return

    @property
    def running(self) -> list[str]:
        return [name for name, step in self.steps.items() if step.state is StepState.RUNNING]


def ran(steps: Sequence[Standing], on_failure: str, data: st.DataObject, *, cancel: bool = False) -> Run:
    """The run to its end; which of the running steps ends next, and how, is drawn."""
    run = Run(steps, on_failure)
    run.go_on()
    while run.ended is None:
        if cancel and run.ending is None and data.draw(st.booleans()):
            run.ending = PipelineState.CANCELLED
        if run.running:
            run.to(data.draw(st.sampled_from(run.running)), data.draw(ENDS))
        run.go_on()
    return run


@given(graphs(), st.sampled_from(["stop", "continue"]), st.booleans(), st.data())
def test_every_pipeline_ends_and_its_end_is_that_of_its_steps(
    steps: list[Standing], on_failure: str, cancel: bool, data: st.DataObject
) -> None:
    run = ran(steps, on_failure, data, cancel=cancel)
    states = [step.state for step in run.steps.values()]
    assert all(is_final(state) for state in states)
    if run.ending is PipelineState.CANCELLED:
        assert run.ended is PipelineState.CANCELLED
    else:
        assert (run.ended is PipelineState.FAILED) == any(state in BREAKS for state in states)


@given(graphs(), st.data())
def test_with_continue_what_needs_no_failed_step_runs_and_what_does_is_left_out(
    steps: list[Standing], data: st.DataObject
) -> None:
    run = ran(steps, "continue", data)
    for step in run.steps.values():
        needs_bad = any(run.steps[other].state in ENDED_BADLY for other in step.after)
        assert (step.state is StepState.SKIPPED) == needs_bad


@given(graphs(), st.data())
def test_with_stop_nothing_begins_after_a_failure(steps: list[Standing], data: st.DataObject) -> None:
    run = ran(steps, "stop", data)
    assert StepState.SKIPPED not in {step.state for step in run.steps.values()}
    decision = decide(list(run.steps.values()), "stop", run.ending)
    assert decision.begin == () and decision.ended is run.ended


@given(STATES, STATES)
def test_a_move_is_made_or_refused_in_words(state: StepState, to: StepState) -> None:
    if to in MOVES[state]:
        assert move(state, to) is to
    else:
        with pytest.raises(Conflict, match=f"that is {state} cannot become {to}"):
            move(state, to)


def test_what_waits_for_approval_begins_only_with_it() -> None:
    steps = [Standing("a", (), StepState.SUCCEEDED), Standing("b", ("a",), unapproved=True)]
    assert decide(steps, "stop").begin == ()
    assert why_it_waits(steps[1], steps) == "waits for somebody's approval"
    assert decide([steps[0], replace(steps[1], unapproved=False)], "stop").begin == ("b",)


def test_what_waits_says_for_what() -> None:
    steps = [Standing("a", ()), Standing("b", ()), Standing("c", ("a", "b"))]
    assert why_it_waits(steps[2], steps) == "waits for 'a', 'b'"


@given(st.dictionaries(st.sampled_from("abcdef"), st.sets(st.sampled_from("abcdef")), max_size=6))
def test_a_circle_is_found_where_there_is_one(after: dict[str, set[str]]) -> None:
    graph = {name: sorted(other for other in others if other in after) for name, others in after.items()}
    circle = circle_of(graph)
    if circle:
        assert all(following in graph[name] for name, following in zip(circle, [*circle[1:], circle[0]], strict=True))
    else:
        order: list[str] = []
        while len(order) < len(graph):
            order.append(next(name for name in graph if name not in order and set(graph[name]) <= set(order)))


def refused(*steps: dict[str, Any]) -> InvalidInput:
    with pytest.raises(InvalidInput) as caught:
        check(read_definition({"steps": list(steps)}))
    return caught.value


@pytest.mark.parametrize(
    ("steps", "field", "words"),
    [
        ([TRAIN, TRAIN], "steps[1].name", "another step is named 'train'"),
        ([TRAIN | {"after": ["tune"]}], "steps[0].after", "no step named 'tune'; there are 'train'"),
        ([TRAIN, CHAIN[2]], "steps[1].of", "no step named 'evaluate'"),
        ([TRAIN, CHAIN[2] | {"of": "train"}], "steps[1].of", "'train' is of kind train: a step of kind promote needs"),
        ([TRAIN | {"after": ["train"]}], "steps[0].after", "in a circle: train after train"),
        ([TRAIN | {"config_of": "train"}], "steps[0].config_of", "is of kind train"),
        ([{"name": "b", "kind": "batch", "dataset": "digits"}], "steps[0].of", "name a step before, or a model"),
        (
            [{"name": "o", "kind": "optimise", "model": "m", "how": {"method": "graph"}}],
            "steps[0].version",
            "say which",
        ),
        ([TRAIN | {"epochs": 3}], "steps[0].epochs", "Extra inputs"),
        ([TRAIN | {"name": "Not a slug"}], "steps[0].name", "should match"),
        ([TRAIN | {"kind": "bake"}], "steps[0]", "does not match any of the expected tags"),
        ([], "steps", "at least 1 item"),
    ],
)
def test_what_cannot_be_is_refused_by_its_field(steps: list[dict[str, Any]], field: str, words: str) -> None:
    error = refused(*steps)
    assert error.field == field
    assert error.message.startswith(f"{field}: ") and words in error.message


def test_two_steps_that_wait_for_each_other_are_refused() -> None:
    error = refused(TRAIN | {"after": ["other"]}, TRAIN | {"name": "other", "after": ["train"]})
    assert error.field == "steps[0].after" and "train after other after train" in error.message


def test_a_clone_differs_where_it_was_said() -> None:
    earlier = read_definition({"name": "nightly", "steps": CHAIN}).model_dump(mode="json")
    clone = changed(earlier, None, "continue", {"train": {"config": {"epochs": 9}, "priority": 5}})
    step = clone.steps[0].model_dump(mode="json")
    assert (step["config"], step["priority"]) == ({"epochs": 9, "seed": 1}, 5)
    assert (clone.name, clone.on_failure) == ("nightly", "continue")
    assert clone.steps[1:] == read_definition(earlier).steps[1:]
    with pytest.raises(InvalidInput, match=r"steps\.bake: no step named 'bake'"):
        changed(earlier, steps={"bake": {}})
    with pytest.raises(InvalidInput, match=r"^steps\[0\]\.config"):
        changed(earlier, steps={"train": {"config": 3}})


FACTS = [
    Fact("version_registered", "train-1", {}),
    Fact("evaluation_requested", "evaluate-1", {}),
    Fact("evaluation_completed", "evaluate-1", {"verdict": "VERDICT_FAILED", "reasons": ["worse"]}),
    Fact("evaluation_requested", "evaluate-2", {}),
    Fact("evaluation_completed", "evaluate-2", {"verdict": "VERDICT_PASSED", "reasons": []}),
    Fact("traffic_switched", "", {}),
]


@given(st.permutations(FACTS))
def test_facts_say_the_same_in_whatever_order_they_came(facts: list[Fact]) -> None:
    version = known("digits-cnn", 3, facts)
    assert (version.evaluation_id, version.passed, version.is_serving) == ("evaluate-2", True, True)


@given(st.permutations(FACTS[:4]))
def test_a_new_evaluation_takes_back_the_verdict_of_the_last(facts: list[Fact]) -> None:
    version = known("digits-cnn", 3, facts)
    assert (version.evaluation_id, version.passed, version.reasons) == ("evaluate-2", None, ())
