"""Layers for tables with gaps, and the members of risk and diagnosis that they carry."""

import io
import pickle
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import library
from library.data.card_payments import COMPONENTS, payments
from library.data.thyroid import LETTERS, class_of
from library.evaluation.rivals import scorecard
from library.networks.tables import Additive, Ramps, Reasoned
from library.sources.frames import frame

cells = st.one_of(st.just(float("nan")), st.floats(-1e4, 1e4, width=32), st.integers(0, 3).map(float))
tables = st.lists(st.lists(cells, min_size=2, max_size=2), min_size=1, max_size=40)


def measured(rows: Any, steps: int = 4, target: Any = None) -> Ramps:
    ramps = Ramps(rows.shape[1], steps, sharp=True)
    ramps.measure(rows, target)
    return ramps


@given(tables, st.booleans())
def test_a_cell_climbs_from_0_to_1_and_a_gap_climbs_nothing(table: list[list[float]], told: bool) -> None:
    rows = torch.tensor(table)
    ramps = measured(rows, 4, torch.arange(len(rows)) % 2 if told else None)
    found, missing = ramps(rows), rows.isnan()
    assert (ramps.width > 0).all()
    assert ((found >= 0) & (found <= 1)).all()
    torch.testing.assert_close(found[..., 4], missing.float())
    assert (found[..., :4][missing] == 0).all()
    assert (found[..., 5:][missing] == 0).all()


@given(tables)
def test_a_greater_cell_climbs_no_less(table: list[list[float]]) -> None:
    rows = torch.tensor(table)
    ramps = measured(rows)
    column = rows[:, 0][~rows[:, 0].isnan()].sort().values
    climbed = ramps(torch.stack([column, column], dim=1))[:, 0, :4].sum(dim=1)
    assert (climbed.diff() >= 0).all()


def test_values_that_are_few_have_a_step_each() -> None:
    codes = torch.tensor([[0.0], [2.0], [1.0], [3.0], [0.0]])
    torch.testing.assert_close(measured(codes)(codes)[:, 0, :4].sum(dim=1), codes[:, 0])


@given(tables)
def test_contributions_add_up_to_the_log_odds_and_to_nothing_over_the_rows_measured(table: list[list[float]]) -> None:
    rows = torch.tensor(table)
    model = Additive(2, 4)
    model.measure(rows)
    torch.nn.init.normal_(model.weight)
    torch.nn.init.constant_(model.bias, 0.3)
    chances, contributions = Reasoned(model)(rows)
    torch.testing.assert_close(chances[:, 1], (contributions.sum(dim=1) + 0.3).sigmoid())
    torch.testing.assert_close(contributions.mean(dim=0), torch.zeros(2), atol=1e-4, rtol=0)


@pytest.mark.parametrize(
    ("letters", "label"),
    [("-", "negative"), ("GK", "hypothyroid"), ("C|I", "binding-protein"), ("H|K", "other-illness")],
)
def test_of_several_diagnoses_the_first_or_the_likelier_counts(letters: str, label: str) -> None:
    assert list(LETTERS)[class_of(letters)] == label


def test_payments_are_put_in_order_of_time_and_told_their_hour() -> None:
    names = ",".join(f'"{name}"' for name in ("Time", *COMPONENTS, "Amount", "Class"))
    rows = [f'{time},{",".join([str(time)] * 28)},2.5,"{kind}"' for time, kind in ((90_000, 1), (0, 0), (7_200, 0))]
    items = payments("\n".join([names, *rows]).encode())
    assert items["payment"][:, 0].tolist() == [0, 2, 1]
    assert items["payment"][:, 2].tolist() == [0, 7_200, 90_000]
    assert items["kind"].tolist() == [0, 0, 1]


def test_applications_have_the_gaps_that_were_published() -> None:
    items = library.data_set("credit").load()
    gaps = np.isnan(items["application"]).sum(axis=0)
    assert gaps.tolist() == [0, 0, 0, 0, 381, 47, 18, 0, 0, 6, 1, 0, 2]
    assert np.bincount(items["status"]).tolist() == [3200, 1254]


@pytest.mark.parametrize("name", [print, eval, io.open])
def test_a_frame_that_names_anything_else_is_refused(name: Any) -> None:
    with pytest.raises(pickle.UnpicklingError, match="has no place in a frame"):
        frame(pickle.dumps(name))


def test_a_scorecard_tells_apart_what_one_column_tells_apart() -> None:
    rows = np.array([[float(number % 10), float("nan") if number % 3 else 1.0] for number in range(200)])
    bad = (rows[:, 0] > 4).astype(int)
    found = scorecard(rows, bad, np.array([[0.0, 1.0], [9.0, float("nan")]]))
    assert found[0, 1] < 0.1
    assert found[1, 1] > 0.9
