"""However items are divided among the parts, none is lost, none is there twice, and what belongs together stays so."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from library.base import Part, Split
from library.sources.split import by_group, divide, in_order


@given(st.lists(st.integers(0, 3), min_size=1, max_size=200), st.integers(0, 2**32 - 1), st.booleans())
def test_a_split_loses_and_repeats_nothing_and_keeps_the_shares(
    targets: list[int], seed: int, stratified: bool
) -> None:
    items = {"index": np.arange(len(targets)), "target": np.array(targets)}
    rule = Split(seed=seed, train=0.7, validation=0.15, stratified=stratified)
    parts = divide(items, "target", rule)
    assert sorted(np.concatenate([part["index"] for part in parts.values()])) == list(range(len(targets)))
    for part in parts.values():
        np.testing.assert_array_equal(items["target"][part["index"]], part["target"])
    for value in set(targets) if stratified else ():
        share = (parts[Part.TRAIN]["target"] == value).sum()
        assert abs(share - 0.7 * targets.count(value)) <= 1


@given(st.lists(st.integers(0, 5), min_size=1, max_size=60))
def test_groups_stay_together_and_nothing_is_lost(groups: list[int]) -> None:
    parts = by_group({"index": np.arange(len(groups))}, np.array(groups), Split())
    assert sorted(np.concatenate([part["index"] for part in parts.values()])) == list(range(len(groups)))
    homes = [{groups[index] for index in part["index"]} for part in parts.values()]
    assert sum(map(len, homes)) == len(set(groups))


@given(st.integers(1, 500))
def test_items_in_order_are_cut_in_order(count: int) -> None:
    parts = in_order({"index": np.arange(count)}, Split())
    assert np.concatenate([parts[part]["index"] for part in Part]).tolist() == list(range(count))
