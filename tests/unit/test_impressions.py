"""The log of a shop's recommendations: parsed as published, and the model that hardly leans from its base rate."""

import numpy as np
import pytest
import torch

from library.base import Part
from library.data.impressions import COLUMNS, Impressions, impressions
from library.members.ctr import NUMBERS
from library.networks.tables import Chosen, Leaning

HEAD = ",timestamp,item_id,position,click,propensity_score,user_feature_0,user_feature_1,user_feature_2,user_feature_3"
AFFINITIES = "user-item_affinity_0,user-item_affinity_1"


def table(*rows: str) -> bytes:
    return "\n".join([f"{HEAD},{AFFINITIES}", *rows]).encode()


def test_tables_of_policies_and_campaigns_become_one_in_order_of_time() -> None:
    late = table("0,2019-11-24 13:00:17.004101+00:00,1,2,1,0.1,b,b,a,a,3.0,2.0")
    early = table(
        "0,2019-11-24 00:00:17+00:00,0,3,0,0.1,a,b,a,b,0.0,4.0",
        "1,2019-11-25 23:59:59.5+00:00,1,1,0,0.1,a,a,b,a,0.0,0.0",
    )
    found = impressions({("bts", "men"): late, ("random", "women"): early})
    assert found["kind"].tolist() == [0, 1, 0]
    rows = [dict(zip(COLUMNS, row, strict=True)) for row in found["impression"].tolist()]
    assert [row["policy"] for row in rows] == [0, 1, 0]
    assert [row["campaign"] for row in rows] == [2, 1, 2]
    assert [row["hour"] for row in rows] == [0, 13, 23]
    assert [(row["affinity"], row["interests"]) for row in rows] == [(0, 4), (2, 5), (0, 0)]
    assert [[row[f"user_{number}"] for number in range(4)] for row in rows] == [
        [0, 1, 0, 1],
        [1, 1, 0, 0],
        [0, 0, 1, 0],
    ]


def test_the_log_is_whole_and_each_number_of_a_user_has_a_column() -> None:
    parts = Impressions().parts()
    assert [(len(items["kind"]), items["kind"].sum()) for items in parts.values()] == [
        (36_000, 173),
        (9_000, 35),
        (15_000, 79),
    ]
    rows = np.concatenate([items["impression"] for items in parts.values()])
    for column, count in NUMBERS.items():
        assert np.unique(rows[:, COLUMNS.index(column)]).tolist() == list(range(count))
    assert list(parts) == list(Part)


def test_chosen_columns_say_what_is_there_and_which_number_it_is() -> None:
    chosen = Chosen([1], {0: 3}, 0.5)
    found = chosen(torch.tensor([[2.0, 4.0], [0.0, 0.0], [7.0, 1.0]]))
    assert chosen.width == 4
    assert found.tolist() == [[1, 0, 0, 0.5], [0, 0.5, 0, 0], [1, 0, 0, 0]]


@pytest.mark.parametrize("share", [0.005, 0.5, 0.9])
def test_what_has_learnt_nothing_tells_the_measured_share(share: float) -> None:
    leaning = Leaning(2)
    leaning.measure(torch.arange(1000) < 1000 * share)
    found = leaning(torch.randn(5, 2)).softmax(dim=1)[:, 1]
    torch.testing.assert_close(found, torch.full((5,), share))
