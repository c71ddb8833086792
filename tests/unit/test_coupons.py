"""Letters of campaigns: what a shop knew on their morning, and nothing that came later."""

import numpy as np
import pytest

from library.base import Part
from library.data.coupons import COLUMNS, Coupons, Letters

pytestmark = pytest.mark.library
DAYS = np.arange("2017-03-01", "2017-06-01", dtype="M8[D]").astype("M8[ns]")
START, END = DAYS[40], DAYS[60]


def bought(*days: int) -> tuple[np.ndarray, ...]:
    """One line of a receipt on each day: its number as product and basket, two dollars, a coupon on even days."""
    each = np.array(days)
    return DAYS[each], each, each, np.full(len(each), 2.0), np.where(each % 2, 0.0, 0.5), np.zeros(len(each))


def letter(letters: Letters, number: int, household: int) -> dict[str, float]:
    row, _, _ = letters.add(number, household, "Type B", START, END, (3, frozenset({10, 50})))
    return dict(zip(COLUMNS, row, strict=True))


def test_what_comes_on_the_day_or_later_is_not_known() -> None:
    letters = Letters({7: bought(10, 11, 40, 50)}, {7: (DAYS[[12, 40, 45]], np.array([1, 2, 2]))})
    letters.add(1, 7, "Type A", DAYS[5], DAYS[20], (1, frozenset()))
    known = letter(letters, 2, 7)
    assert (known["type"], known["days"], known["coupons"]) == (1, 20, 3)
    assert (known["spent"], known["baskets"], known["fitting"], known["with_coupon"]) == (4, 2, 1, 1)
    assert (known["answered"], known["redeemed"], known["since_redeemed"]) == (1, 1, 28)


def test_a_household_of_which_nothing_is_known() -> None:
    known = letter(Letters({}, {}), 2, 7)
    assert all(np.isnan(known[name]) for name in ("answered", "redeemed", "since_redeemed"))
    assert all(known[name] == 0 for name in ("spent", "baskets", "fitting", "with_coupon"))


def test_a_coupon_that_is_redeemed_in_the_end_is_an_answer() -> None:
    letters = Letters({}, {7: (DAYS[[45]], np.array([2]))})
    assert letters.add(2, 7, "Type C", START, END, (1, frozenset()))[1]
    assert not letters.add(3, 7, "Type C", START, END, (1, frozenset()))[1]


def test_campaigns_are_whole_in_their_parts_and_follow_each_other() -> None:
    parts = Coupons().parts()
    counts = [(len(items["kind"]), items["kind"].sum()) for items in parts.values()]
    assert counts == [(2850, 279), (1708, 253), (2031, 260)]
    assert list(parts) == list(Part)
