"""Series of scalars: packed and unpacked alike, gathered once a second, thinned so that ends and extremes stay."""

import io
import math
import os
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from shared.series.columns import Columns, thinned
from shared.worker import REPORTS, Curves, Points, Record, Reporter, Series

FINITE = st.floats(allow_nan=False, allow_infinity=False, width=32)
POINTS = st.lists(st.tuples(st.integers(0, 2**40), FINITE), min_size=1, max_size=400)


@given(POINTS)
def test_columns_come_back_as_they_were(points: list[tuple[int, float]]) -> None:
    steps, values = zip(*points, strict=True)
    columns = Columns.of(steps, [float(step) for step in steps], values)
    found = Columns.unpacked(*columns.packed())
    assert (found.steps.tolist(), found.values.tolist()) == (list(steps), list(values))
    half = len(points) // 2
    joined = Columns.joined([columns.where(np.arange(half)), columns.where(np.arange(half, len(points)))])
    assert joined.packed() == columns.packed()


@given(POINTS, st.integers(8, 60))
def test_a_thinned_curve_keeps_ends_and_extremes(points: list[tuple[int, float]], most: int) -> None:
    x = np.sort(np.array([step for step, _ in points], np.float64))
    y = np.array([value for _, value in points])
    kept = thinned(x, y, most)
    assert len(kept) <= most or len(kept) == len(x) <= most
    assert sorted(set(kept.tolist())) == kept.tolist()
    assert {0, len(x) - 1} <= set(kept.tolist())
    assert (y[kept].min(), y[kept].max()) == (y.min(), y.max())


def test_one_peak_among_a_million_stays() -> None:
    y = np.zeros(1_000_000)
    y[123_457] = 1.0
    kept = thinned(np.arange(1_000_000.0), y, 100)
    assert 123_457 in kept and len(kept) <= 100


@contextmanager
def piped() -> Iterator[tuple[Reporter, io.BufferedReader]]:
    reading, writing = os.pipe()
    with os.fdopen(reading, "rb") as ours:
        yield Reporter(writing), ours


def test_curves_are_gathered_and_keep_their_order(monkeypatch: pytest.MonkeyPatch) -> None:
    with piped() as (reporter, ours):
        now = [100.0]
        monkeypatch.setattr("shared.worker.time.time", lambda: now[0])
        curves = Curves(reporter, per_epoch=4)
        for step in range(1, 8):
            now[0] += 0.3
            curves.add(step, {"loss": math.inf if step == 2 else float(step)})
        curves.flush()
        curves.flush()
        reporter._pipe.close()
        reports = [REPORTS.validate_json(line) for line in ours]
    assert all(isinstance(report, Points) and report.per_epoch == 4 for report in reports)
    found = [report.series["loss"] for report in reports if isinstance(report, Points)]
    assert [series.steps for series in found] == [[1, 2, 3, 4], [5, 6, 7]]
    assert found[0].values == [1.0, math.inf, 3.0, 4.0]


def test_what_is_no_series_is_refused() -> None:
    for given_ in ({"steps": [1], "times": [], "values": [1.0]}, {"steps": [], "times": [], "values": []}):
        with pytest.raises(ValidationError, match="as many steps"):
            Series.model_validate(given_)
    for record in ({"kind": "text"}, {"kind": "text", "body": {}, "file": "a"}, {"kind": "page", "body": {}}):
        with pytest.raises(ValidationError):
            Record.model_validate({"name": "shown", **record})
