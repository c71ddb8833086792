"""What a mixed load makes of answers and failures: which version may answer when, and what a kill excuses."""

import math

import pytest

from benchmarks.verdicts import IN_A_ROW, Asked, Kill, Life, Verdicts, judge

LIVES = {("m", 1): Life(0, unstaged=20), ("m", 2): Life(10)}


def answer(started: float, version: int = 2, *, is_right: bool = True, model: str = "m") -> Asked:
    return Asked(model, started, started + 1, 200, version, is_right)


def failure(started: float, seconds: float = 1, model: str = "m") -> Asked:
    return Asked(model, started, started + seconds, 503)


def judged(*asked: Asked, kills: tuple[Kill, ...] = ()) -> Verdicts:
    return judge(asked, LIVES, kills)


@pytest.mark.parametrize(
    ("one", "reason"),
    [
        (answer(5, 1), ""),
        (answer(15, 1), ""),
        (answer(15, 2), ""),
        (answer(20, 1), ""),
        (answer(21, 1), "by a version unstaged 1.000 s before"),
        (answer(9, 2), ""),
        (answer(8.5, 2), "by a version that was not promoted"),
        (answer(15, 3), "by a version that was not promoted"),
        (answer(15, 2, model="other"), "by a version that was not promoted"),
        (answer(15, 2, is_right=False), "not what that version computes"),
    ],
)
def test_an_answer_is_right_for_its_version_in_its_time(one: Asked, reason: str) -> None:
    found = judged(one)
    assert [said for said, _ in found.wrong] == ([reason] if reason else [])
    assert found.is_clean == (not reason)


def test_a_kill_excuses_failures_of_its_model_until_enough_in_a_row_were_answered() -> None:
    kill = Kill("m", "second", 100)
    hung, again = failure(99, seconds=5), failure(110)
    healing = [answer(111 + number) for number in range(IN_A_ROW)]
    end = healing[-1].ended
    late, before, other = failure(end + 1), failure(90), failure(105, model="other")
    found = judged(hung, answer(101), again, *healing, late, before, other, kills=(kill,))
    assert found.inside == [hung, again]
    assert found.outside == [late, before, other]
    assert found.healing == [end - 100]


def test_answers_that_overtake_a_request_that_hangs_heal_nothing() -> None:
    hung = failure(101, seconds=60)
    overtaking = [answer(100.5 + number / IN_A_ROW) for number in range(IN_A_ROW)]
    found = judged(hung, *overtaking, kills=(Kill("m", "second", 100),))
    assert (found.inside, found.outside, found.healing) == ([hung], [], [math.inf])
    assert not found.is_clean


def test_failures_without_a_kill_are_not_excused() -> None:
    assert judged(failure(1), answer(2, 1)).outside == [failure(1)]
