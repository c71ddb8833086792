"""Intervals of figures by bootstrap, and the losses that are means over items."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from library.base import TaskType
from library.evaluation.intervals import PER_ITEM, beside, interval, qlike
from services.evaluator.engine import JUDGES

numbers = st.lists(st.floats(-10, 10), min_size=1, max_size=60)


@given(numbers)
def test_an_interval_lies_among_the_values_and_is_the_same_each_time(values: list[float]) -> None:
    low, high = interval(np.array(values))
    assert min(values) - 1e-9 <= low <= high <= max(values) + 1e-9
    assert (low, high) == interval(np.array(values))


def test_an_interval_is_as_wide_as_theory_says() -> None:
    low, high = interval(np.random.RandomState(1).normal(size=10_000))
    assert high - low == pytest.approx(2 * 1.96 / 100, rel=0.15)


def test_neighbours_that_move_together_make_an_interval_wider() -> None:
    alone = np.random.RandomState(2).normal(size=400)
    together = np.repeat(alone, 25)
    narrow, wide = (
        np.diff(interval(values))[0] for values in (np.random.RandomState(3).permutation(together), together)
    )
    assert wide > 3 * narrow


def test_a_missed_share_of_intervals_is_the_one_that_was_promised() -> None:
    """Of 200 intervals of a mean that is 0, about 190 hold it."""
    random = np.random.RandomState(4)
    held = sum(low <= 0 <= high for low, high in (interval(random.normal(size=900)) for _ in range(200)))
    assert 178 <= held <= 198


@given(st.floats(0.01, 50), st.floats(0.01, 50))
def test_qlike_is_least_at_the_variance_that_squares_have(variance: float, other: float) -> None:
    squares = variance * np.random.RandomState(5).normal(size=2000) ** 2
    squares *= variance / squares.mean()
    own, its = (qlike(squares, np.full(2000, told)).mean() for told in (variance, other))
    assert own <= its + 1e-9


def test_the_judge_of_numbers_tells_qlike_where_they_could_be_variances() -> None:
    judge, truth = JUDGES[TaskType.REGRESSION], np.array([0.0, 2.0, 4.0])
    assert judge(truth, np.array([[1.0], [2.0], [4.0]]), ())["qlike"] == pytest.approx((2 + 3 * np.log(2)) / 3)
    assert judge(truth, np.zeros((3, 1)), ())["qlike"] > 1e8
    assert "qlike" not in judge(truth, np.array([[-1.0], [2.0], [4.0]]), ())
    assert "qlike" not in judge(truth - 1, np.array([[1.0], [2.0], [4.0]]), ())


@given(st.lists(st.tuples(st.integers(0, 1), st.floats(0.01, 0.99)), min_size=2, max_size=50))
def test_each_metric_of_items_has_the_mean_that_the_judge_tells(pairs: list[tuple[int, float]]) -> None:
    truth, chance = (np.array(column) for column in zip(*pairs, strict=True))
    outputs = np.stack([1 - chance, chance], axis=1)
    told: dict[str, Any] = JUDGES[TaskType.CLASSIFICATION](truth, outputs, ("no", "yes"))
    told |= JUDGES[TaskType.REGRESSION](truth, chance[:, None], ()) | JUDGES[TaskType.EMBEDDING](truth, outputs, ())
    told |= JUDGES[TaskType.RANKING](truth, outputs, ())
    for metric, of_items in PER_ITEM.items():
        assert of_items(truth, chance[:, None] if metric == "qlike" else outputs).mean() == pytest.approx(told[metric])


def test_what_is_better_for_each_item_is_surely_better_and_no_mean_has_no_interval() -> None:
    truth = np.random.RandomState(6).randint(2, size=300)
    good, bad = (np.where(truth[:, None] == [0, 1], sure, 1 - sure) for sure in (0.9, 0.6))
    found = beside("log_loss", truth, good, bad)
    assert found["log_loss_less_baseline_low"] == pytest.approx(np.log(0.6 / 0.9))
    assert found["log_loss_less_baseline_high"] == pytest.approx(np.log(0.6 / 0.9))
    assert beside("roc_auc", truth, good, bad) == {}
