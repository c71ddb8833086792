"""Prices of two markets: windows that know no later day, and the forecast that volatility is to beat."""

from functools import cache
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from library.base import Part
from library.data.markets import MarketDirection, MarketVariance, returns, windows
from library.members.direction import COST, Direction, traded
from library.networks.bars import MOVES, Moves
from library.networks.garch import Garch, fit

DAYS = 70


@cache
def variance_parts() -> dict[Part, dict[str, Any]]:
    return MarketVariance().parts()


def table(closes: Any) -> str:
    rows = [f"{day},{close},{close + 1},{close - 1},{close},{close},5" for day, close in enumerate(closes)]
    return "\n".join(["Date,Open,High,Low,Close,Adj Close,Volume", *rows])


def test_a_window_ends_the_day_before_what_is_asked_for() -> None:
    closes = 100 + np.arange(DAYS, dtype=float)
    bars, moves = windows(table(closes))
    assert bars.shape == (DAYS - 64, 64, 4)
    np.testing.assert_array_equal(bars[:, -1, 3], closes[63:-1])
    np.testing.assert_allclose(moves, 100 * np.log(closes[64:] / closes[63:-1]))
    np.testing.assert_array_equal(bars[0, 5], [105, 106, 104, 105])


def test_a_day_is_in_one_part_and_each_part_is_later_than_the_one_before() -> None:
    parts = variance_parts()
    for items in parts.values():
        np.testing.assert_array_equal(items["market"], np.tile([0, 1], len(items["market"]) // 2))
    for before, after in ((Part.TRAIN, Part.VALIDATION), (Part.VALIDATION, Part.TEST)):
        np.testing.assert_array_equal(parts[before]["bars"][-2:, 1:], parts[after]["bars"][:2, :-1])


def test_what_is_asked_for_is_what_the_next_window_shows() -> None:
    items = variance_parts()[Part.TEST]
    for market in (0, 1):
        own = items["market"] == market
        shown = returns(items["bars"][own])[1:, -1] ** 2
        np.testing.assert_allclose(items["variance"][own][:-1], shown, atol=1e-3, rtol=1e-3)
    direction = MarketDirection().parts()[Part.TEST]
    np.testing.assert_array_equal(direction["bars"], items["bars"])
    rises = returns(items["bars"][items["market"] == 0])[1:, -1] > 0
    np.testing.assert_array_equal(direction["direction"][direction["market"] == 0][:-1], rises)


def test_moves_do_not_see_the_price_and_grow_with_it() -> None:
    bars = torch.from_numpy(variance_parts()[Part.VALIDATION]["bars"][:8])
    found = Moves(64)(bars)
    assert found.shape == (8, MOVES)
    torch.testing.assert_close(Moves(64)(bars * 3), found, atol=1e-3, rtol=1e-3)
    last = bars[:, -1:, 3:]
    wilder = last * (bars / last) ** 2
    assert (Moves(64)(wilder)[:, :8] > found[:, :8]).all()


@pytest.mark.parametrize("truth", [Garch(0.05, 0.1, 0.85, 1.0), Garch(0.4, 0.3, 0.4, 1.0)])
def test_garch_finds_the_shares_that_made_a_series(truth: Garch) -> None:
    random, variance, series = np.random.RandomState(3), truth.first, []
    for _ in range(6000):
        series.append(random.normal() * variance**0.5)
        variance = truth.constant + truth.square * series[-1] ** 2 + truth.memory * variance
    past = np.lib.stride_tricks.sliding_window_view(np.array(series[:-1]), 63)
    squares = np.array(series[63:]) ** 2
    order = random.permutation(len(past))
    found = fit(past[order], squares[order])
    assert found.square == pytest.approx(truth.square, abs=0.03)
    assert found.memory == pytest.approx(truth.memory, abs=0.05)
    assert found.forecast(past[-1:])[0] == pytest.approx(truth.forecast(past[-1:])[0], rel=0.1)


def shown(closes: Any) -> dict[str, Any]:
    """Items of one market whose windows show these closes, two days each."""
    bars = np.repeat(np.lib.stride_tricks.sliding_window_view(np.array(closes), 2)[:, :, None], 4, axis=2)
    return {"bars": bars, "market": np.zeros(len(bars), "<i8")}


def test_who_is_in_the_market_on_some_days_has_their_returns_less_the_cost_of_each_change() -> None:
    items = shown([100.0, 100, 110, 99, 99, 198])
    days = traded(np.array([0.5, 0.4, 0.6, 0.3, 0.9]), items)
    assert days is not None
    held, earned = days
    np.testing.assert_allclose(held, [0.1, -0.1, 0, 1])
    np.testing.assert_allclose(earned, [0.1 - COST, -COST, -COST, -COST])


def test_items_that_do_not_follow_each_other_show_no_day() -> None:
    items = shown([100.0, 100, 110, 99, 99, 198])
    some = {name: column[[0, 2, 3]] for name, column in items.items()}
    days = traded(np.array([0.5, 0.5, 0.5]), some)
    assert days is not None
    np.testing.assert_allclose(days[0], [0])
    assert traded(np.array([0.5]), {name: column[:1] for name, column in items.items()}) is None


@given(st.lists(st.floats(0, 1), min_size=3, max_size=30), st.data())
def test_no_later_chance_changes_what_was_done_before(chances: list[float], data: st.DataObject) -> None:
    now = data.draw(st.integers(1, len(chances) - 1))
    items = shown(100 + np.arange(len(chances) + 1.0) % 7)
    days = [traded(np.array([*chances[:now], *rest]), items) for rest in (chances[now:], [0.5] * len(chances[now:]))]
    np.testing.assert_array_equal(*(way[1][:now] for way in days if way is not None))


def test_the_figures_of_direction_say_what_an_accuracy_and_a_strategy_may_be_worth() -> None:
    items = MarketDirection().parts()[Part.VALIDATION]
    right = np.eye(2)[items["direction"]]
    found = Direction().figures(right, items)
    assert (found["accuracy_low"], found["accuracy_high"]) == (1, 1)
    assert found["strategy_percent"] > found["holding_percent"] > 0
    assert 0 < found["strategy_less_holding_low"] < found["strategy_less_holding_high"]
