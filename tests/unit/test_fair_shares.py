"""Who goes first: no more than fits, nothing overtakes what waits for room, and projects get equal parts."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.trainer.admission.domain import LEAST_SHARE, Waiting, admit, share
from shared.tasks.terms import Resources

BEGIN = datetime(2026, 1, 1, tzinfo=UTC)
NODE = Resources(cores=2, memory=2**33)
TASKS = 60
CORES = st.sampled_from([0.0, 0.25, 0.5, 1.0, 2.0, 3.0])


def waits(number: int, project: str = "a", cores: float = 1.0, priority: int = 0, *, is_askers: bool = True) -> Waiting:
    needs = Resources(cores=cores, memory=2**20)
    return Waiting(f"train-{number}", project, priority, BEGIN + timedelta(seconds=number), needs, is_askers)


LINES = st.lists(
    st.builds(
        waits,
        st.integers(0, 1000),
        st.sampled_from("abc"),
        CORES,
        st.integers(-2, 2),
        is_askers=st.booleans(),
    ),
    max_size=12,
    unique_by=lambda task: task.task_id,
)


@given(LINES, st.lists(CORES, max_size=3))
def test_no_more_is_admitted_than_fits_and_only_to_the_one_who_asks(line: list[Waiting], taken: list[float]) -> None:
    held = [Resources(cores=cores, memory=0) for cores in taken]
    decision = admit(NODE, held, line, {}, {})
    assert all(task.is_askers for task in decision.admitted)
    assert {task.task_id for task in decision.too_large} == {task.task_id for task in line if task.needs.cores > 2}
    used = sum(task.needs.cores for task in decision.admitted)
    assert used == 0 or used + sum(taken) <= 2


@given(LINES)
def test_the_order_of_those_who_wait_decides_and_not_who_tells_of_them(line: list[Waiting]) -> None:
    there, back = admit(NODE, [], line, {}, {}), admit(NODE, [], line[::-1], {}, {})
    assert there == back


def test_what_waits_for_room_is_not_overtaken() -> None:
    decision = admit(NODE, [Resources(cores=1, memory=0)], [waits(1, cores=2), waits(2), waits(3, cores=0)], {}, {})
    assert [task.task_id for task in decision.admitted] == ["train-3"]


def test_what_can_never_run_holds_nobody_up() -> None:
    decision = admit(NODE, [], [waits(1, cores=3), waits(2)], {}, {})
    assert [task.task_id for task in decision.admitted] == ["train-2"]
    assert [task.task_id for task in decision.too_large] == ["train-1"]


def test_what_another_node_can_run_is_not_too_large() -> None:
    decision = admit(NODE, [], [waits(1, cores=3), waits(2)], {}, {}, [Resources(cores=4, memory=2**33)])
    assert [task.task_id for task in decision.admitted] == ["train-2"]
    assert decision.too_large == []


def test_what_another_runner_waits_for_is_kept_for_it() -> None:
    decision = admit(NODE, [], [waits(1, cores=2, is_askers=False), waits(2)], {}, {})
    assert decision.admitted == []


def test_the_more_urgent_goes_first_within_its_project_only() -> None:
    line = [waits(1), waits(2, priority=5), waits(3, "b", priority=-5)]
    decision = admit(NODE, [], line, {}, {})
    assert [task.task_id for task in decision.admitted] == ["train-2", "train-3"]


def test_who_had_less_goes_first() -> None:
    one = Resources(cores=1, memory=2**33)
    line = [waits(1), waits(2, "b")]
    assert [task.project for task in admit(one, [], line, {"a": 9.0, "b": 1.0}, {}).admitted] == ["b"]
    assert [task.project for task in admit(one, [], line, {"a": 9.0, "b": 1.0}, {"a": 10.0}).admitted] == ["a"]


def test_nothing_is_quite_free() -> None:
    assert share(Resources(cores=0, memory=0), NODE) == LEAST_SHARE
    assert share(Resources(cores=1, memory=0), NODE) == 0.5
    assert share(Resources(cores=0, memory=0, gpus=1), NODE) == 1


@pytest.mark.parametrize("weights", [{}, {"c": 2.0}])
@given(st.lists(st.floats(0.5, 5.0), min_size=TASKS, max_size=TASKS))
def test_projects_get_equal_parts_by_weight(weights: dict[str, float], seconds: list[float]) -> None:
    """A node of two cores, simulated: each project always has tasks that wait."""
    line = [waits(number, "abc"[number % 3]) for number in range(TASKS)]
    usage: dict[str, float] = {}
    running: list[tuple[float, Waiting, float]] = []
    now = 0.0
    while min(sum(task.project == name for task in line) for name in "abc") > 0:
        taken = [task.needs for _, task, _ in running]
        for task in admit(NODE, taken, line, usage, weights).admitted:
            line.remove(task)
            running.append((now + seconds[int(task.task_id[6:])], task, now))
        running.sort(key=lambda entry: entry[0])
        now, ended, began = running.pop(0)
        usage[ended.project] = usage.get(ended.project, 0.0) + share(ended.needs, NODE) * (now - began)
    parts = {name: usage[name] / weights.get(name, 1.0) for name in "abc"}
    assert max(parts.values()) - min(parts.values()) <= 5.0
