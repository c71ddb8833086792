"""Studies: when they are over, who is best, who falls behind, and that a rebuilt one draws what it would have drawn."""

import json
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import library
from services.trainer.tuning import charts
from services.trainer.tuning.domain import (
    Study,
    Trial,
    TrialState,
    front,
    over,
    planned,
    progress,
    room,
    settled,
    told,
    trial_plan,
)
from services.trainer.tuning.pruning import bracket_of, pruned_at, rungs
from services.trainer.tuning.sampling import draw
from shared.errors import InvalidInput
from shared.rpc.trainer import SubmitStudy
from shared.tasks.terms import Limits, Place, Terms
from shared.tuning import Budget, Objective, Pruner, Range, Sampler

DIGITS = library.model("digits-cnn")
LOSS = Objective(metric="loss", direction="minimize")
ACCURACY = Objective(metric="accuracy", direction="maximize")
USUAL = DIGITS.validate({}).model_dump(mode="json")
VALUES = st.floats(-1e6, 1e6)


def study_of(**changes: Any) -> Study:
    given_facts = {"model": "digits-cnn", "objectives": (LOSS,), "budget": Budget(trials=60), "seed": 3}
    return planned(SubmitStudy(**(given_facts | changes)), DIGITS).parameters


def trial(number: int, *values: float, state: TrialState = TrialState.SUCCEEDED, **facts: Any) -> Trial:
    return Trial(number, f"train-{number}", facts.pop("parameters", {}), state, values, **facts)


def bowl(parameters: dict[str, Any]) -> float:
    """Least at a learning rate of 0.01, a dropout of 0.3 and few hidden units."""
    rate = abs(parameters["learning_rate"] - 0.01) / 0.01
    return float(rate + abs(parameters["dropout"] - 0.3) + parameters["hidden"] / 512)


def carried_out(study: Study, count: int, begun: Sequence[Trial] = ()) -> list[Trial]:
    """The trials of a study, one after the other, from those that there are."""
    trials = list(begun)
    while len(trials) < count:
        drawn = draw(study, study.objectives, trials, USUAL)
        facts = {"parameters": drawn.parameters, "generation": drawn.generation}
        trials.append(trial(len(trials), bowl(drawn.parameters), **facts))
    return trials


def test_a_plan_says_all_that_trials_follow_from() -> None:
    terms = Terms(priority=4, place=Place.RAY, limits=Limits(seconds=60), tags=("a",), remark="b")
    request = SubmitStudy(model="digits-cnn", config={"epochs": 2}, training={"model": "best"}, terms=terms, seed=9)
    plan = planned(request, DIGITS)
    assert plan.terms == Terms(priority=4, place=Place.RAY, limits=Limits(seconds=60))
    made = trial_plan(plan, DIGITS, {"hidden": 32})
    assert (made.seed, made.config["epochs"], made.config["hidden"]) == (9, 2, 32)
    assert made.parameters["training"] == {"model": "best"}


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"objectives": (Objective(metric="charm"),)}, "objectives.0.direction"),
        ({"objectives": (LOSS, LOSS)}, "objectives"),
        ({"objectives": (LOSS, ACCURACY), "pruner": Pruner.ASHA}, "pruner"),
        ({"objectives": (LOSS, ACCURACY), "sampler": Sampler.CMAES}, "sampler"),
        ({"objectives": (LOSS, ACCURACY), "budget": Budget(target=1)}, "budget.target"),
        ({"training": {"clip_norm": -1}}, "training.clip_norm"),
        ({"config": {"epochs": 0}}, "config.epochs"),
    ],
)
def test_what_cannot_be_is_told_by_its_field(changes: dict[str, Any], field: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        study_of(**changes)
    assert caught.value.field == field


def test_without_objectives_the_gate_says_what_is_wanted() -> None:
    study = study_of(objectives=())
    assert settled(study, DIGITS.gate, {"validation_accuracy", "validation_loss"}) == (ACCURACY,)
    assert settled(study, DIGITS.gate, {"validation_loss"}) == (LOSS,)
    assert settled(study, DIGITS.gate, set()) == ()
    with pytest.raises(InvalidInput, match=r"objectives\.0\.metric: loss is not measured; there are a, b"):
        settled(study_of(), DIGITS.gate, {"a", "b"})


def test_a_study_is_over_by_trials_seconds_target_or_failures() -> None:
    study = study_of(budget=Budget(trials=3, seconds=10, target=0.5), parallel=2)
    running = trial(2, state=TrialState.RUNNING)
    two = [trial(0, 0.7), trial(1, 0.6)]
    assert over(study, (LOSS,), two, 1) == ""
    assert over(study, (LOSS,), [*two, running], 1) == ""
    assert over(study, (LOSS,), [*two, trial(2, state=TrialState.FAILED)], 1) == "trials"
    assert over(study, (LOSS,), [*two, running], 10) == "seconds"
    assert over(study, (LOSS,), [*two, trial(2, 0.5)], 1) == "target"
    assert over(study, (ACCURACY,), two, 1) == "target"
    many = [trial(number, state=TrialState.FAILED) for number in range(5)]
    assert over(study_of(), (), many, 1) == "failures"
    assert over(study_of(), (), many[:4], 1) == ""


def test_room_keeps_to_parallel_and_to_the_budget() -> None:
    study = study_of(budget=Budget(trials=4), parallel=2)
    running = [trial(number, state=TrialState.RUNNING) for number in range(2)]
    assert [room(study, running[:count]) for count in range(3)] == [2, 1, 0]
    assert room(study, [trial(number, 1.0) for number in range(3)]) == 1
    assert progress(study, [trial(0, 1.0), *running], 5) == 0.25
    assert told(study, (LOSS,), [trial(0, 1.0), trial(1, 0.5)]) == "2 of 4 trials; best: loss 0.5 of trial 1"


@given(st.lists(st.tuples(VALUES, VALUES), max_size=12))
def test_of_the_front_nobody_is_surpassed_and_of_the_rest_everybody(pairs: list[tuple[float, float]]) -> None:
    trials = [trial(number, *values) for number, values in enumerate(pairs)]
    best = front((LOSS, ACCURACY), trials)

    def surpasses(other: Trial, one: Trial) -> bool:
        no_worse = other.values[0] <= one.values[0] and other.values[1] >= one.values[1]
        return no_worse and other.values != one.values

    for one in trials:
        assert any(surpasses(other, one) for other in trials) is (one not in best)
    assert [one.values[0] for one in best] == sorted(one.values[0] for one in best)
    assert len(front((LOSS,), trials)) == min(1, len(trials))


def test_asha_keeps_one_of_three_at_each_rung() -> None:
    assert rungs(30) == [1, 3, 9, 27]
    curves = [dict.fromkeys(range(1, 10), float(value)) for value in range(6)]
    trials = [trial(number, state=TrialState.RUNNING, curve=curve) for number, curve in enumerate(curves)]
    ends = [pruned_at(Pruner.ASHA, LOSS, one, trials, 30) for one in trials]
    assert ends == [None, None, 9, 9, 9, 9]
    assert [pruned_at(Pruner.ASHA, ACCURACY, one, trials, 30) for one in trials] == [9, 9, 9, 9, None, None]
    assert pruned_at(Pruner.NONE, LOSS, trials[5], trials, 30) is None
    assert pruned_at(Pruner.ASHA, LOSS, trials[5], trials, 9) is None, "who is done is not pruned any more"
    assert pruned_at(Pruner.ASHA, LOSS, trials[0], trials[:1], 30) is None


def test_what_is_measured_now_and_then_is_judged_by_what_was_measured_last() -> None:
    slow, fast = ({4: value, 8: value, 12: value} for value in (1.0, 0.5))
    trials = [trial(number, state=TrialState.RUNNING, curve=curve) for number, curve in enumerate((slow, fast))]
    assert pruned_at(Pruner.ASHA, LOSS, trials[0], trials, 30) == 9
    assert pruned_at(Pruner.ASHA, LOSS, trials[1], trials, 30) is None


def test_the_median_needs_some_to_compare_with() -> None:
    ended = [trial(number, curve={1: 1.0, 2: float(number), 3: float(number)}) for number in range(4)]
    bad = trial(4, state=TrialState.RUNNING, curve={1: 9.0, 2: 9.0})
    good = trial(4, state=TrialState.RUNNING, curve={1: 9.0, 2: 1.0})
    assert pruned_at(Pruner.MEDIAN, LOSS, bad, [*ended, bad], 30) == 2
    assert pruned_at(Pruner.MEDIAN, LOSS, good, [*ended, good], 30) is None
    assert pruned_at(Pruner.MEDIAN, LOSS, bad, [*ended[:3], bad], 30) is None


def test_hyperband_divides_trials_among_brackets_of_about_equal_cost() -> None:
    counts = [sum(bracket_of(number, 27) == bracket for number in range(3000)) for bracket in range(4)]
    assert sum(counts) == 3000
    assert all(earlier > later for earlier, later in pairwise(counts))
    assert rungs(27, 2) == [9]
    curves = [dict.fromkeys(range(1, 4), float(value)) for value in range(30)]
    trials = [trial(number, state=TrialState.RUNNING, curve=curve) for number, curve in enumerate(curves)]
    pruned = {bracket_of(one.number, 27) for one in trials if pruned_at(Pruner.HYPERBAND, LOSS, one, trials, 27)}
    assert pruned == {0, 1}, "later brackets look first at epoch 9"


@pytest.mark.parametrize("sampler", [Sampler.TPE, Sampler.RANDOM, Sampler.CMAES, Sampler.GRID])
def test_a_study_that_is_cut_off_anywhere_draws_what_it_would_have_drawn(sampler: Sampler) -> None:
    space = {name: Range(points=2) for name in ("learning_rate", "dropout", "hidden")}
    study = study_of(sampler=sampler, space=space, config={"channels": 8, "shift": 0, "batch_size": 64})
    whole = carried_out(study, 16)
    for cut in (1, 7, 15):
        again = json.loads(json.dumps([one.parameters for one in whole[:cut]]))
        rebuilt = [replace(one, parameters=parameters) for one, parameters in zip(whole, again, strict=False)]
        assert carried_out(study, 16, rebuilt) == whole
    assert len({json.dumps(one.parameters) for one in whole}) == 16
    for one in whole:
        assert all(study.space[name].holds(value) for name, value in one.parameters.items())


@pytest.mark.parametrize("sampler", [Sampler.TPE, Sampler.CMAES])
def test_samplers_learn(sampler: Sampler) -> None:
    """Of a bowl the later half of the trials lies lower than the earlier one, which random draws do not."""
    study = study_of(sampler=sampler, config={"channels": 8, "shift": 0, "batch_size": 64, "weight_decay": 0.0})
    values = [one.values[0] for one in carried_out(study, 60)[1:]]
    assert sum(sorted(values[40:])[:10]) < sum(sorted(values[:19])[:10])


def test_the_first_trial_is_what_the_member_does_by_itself_where_the_ranges_hold_it() -> None:
    study = study_of()
    assert draw(study, (LOSS,), [], USUAL).parameters == {name: USUAL[name] for name in study.space}
    narrowed = study_of(space={"hidden": Range(maximum=64)})
    assert draw(narrowed, (LOSS,), [], USUAL).parameters["hidden"] <= 64


def test_trials_that_run_failed_or_were_pruned_are_drawn_around() -> None:
    study = study_of()
    trials = carried_out(study, 12)
    trials[3] = replace(trials[3], state=TrialState.FAILED, values=())
    trials[4] = replace(trials[4], state=TrialState.PRUNED, values=(), curve={1: 2.0, 2: 1.5})
    trials[5] = replace(trials[5], state=TrialState.RUNNING, values=())
    trials[6] = replace(trials[6], state=TrialState.CANCELLED, values=())
    assert set(draw(study, (LOSS,), trials, USUAL).parameters) == set(study.space)


def test_several_objectives_are_drawn_for_and_shown() -> None:
    study = study_of(objectives=(LOSS, ACCURACY))
    both = [replace(one, values=(one.values[0], one.parameters["dropout"])) for one in carried_out(study_of(), 20)]
    assert set(draw(study, study.objectives, both, USUAL).parameters) == set(study.space)
    assert len(charts.best_numbers(study.objectives, both)) >= 1
    assert sum(charts.importances(study, study.objectives, both).values()) == pytest.approx(1, abs=1e-4)


def test_the_last_point_of_a_grid_ends_the_study() -> None:
    fixed = {name: value for name, value in USUAL.items() if name not in ("dropout", "shift")}
    study = study_of(sampler=Sampler.GRID, config=fixed, space={"dropout": Range(points=4)})
    assert study.trials == 12
    assert room(study, [trial(number, 1.0) for number in range(12)]) == 0


def test_plots_have_a_line_a_trial_and_name_what_mattered() -> None:
    study = study_of(config={"channels": 8, "batch_size": 64, "weight_decay": 0.0})
    trials = [*carried_out(study, 40), trial(40, state=TrialState.FAILED)]
    mattered = charts.importances(study, (LOSS,), trials)
    assert next(iter(mattered)) == "learning_rate"
    assert set(mattered) == set(study.space)
    plot = charts.parallel(study, (LOSS,), trials)
    assert [axis.name for axis in plot.axes] == [*study.space, "loss"]
    assert len(plot.lines) == 40
    contours = charts.contours(study, trials, list(mattered))
    assert len(contours) == 6
    assert all(len(contour.points) == 40 for contour in contours)
    cells = [cell for row in contours[0].grid for cell in row if cell is not None]
    assert 0 < len(cells) <= 40
    assert charts.importances(study, (LOSS,), trials[:3]) == {}


def test_optuna_is_not_imported_before_a_study_draws() -> None:
    code = "import sys, services.trainer.app; print([name for name in sys.modules if name in ('optuna', 'cmaes')])"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout.strip() == "[]"
