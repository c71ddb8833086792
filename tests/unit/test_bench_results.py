"""Medians, ratios, tables and figures follow from runs; what is written is read again as it was."""

from io import StringIO
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from benchmarks import report
from benchmarks.cases import TRITON
from benchmarks.figures import figure
from benchmarks.results import CaseResult, Results, Run, newest, ratio, row_of

PEERS = ("MLServer 1", "LitServe 2")
COUNTS = st.integers(0, 10**6)
RUNS = st.builds(
    Run,
    target=st.sampled_from((TRITON, "gateway", *PEERS)),
    connections=st.sampled_from((1, 16, 64, 256)),
    round=st.integers(1, 5),
    requests=COUNTS,
    failed=COUNTS,
    seconds=st.floats(0.5, 60),
    p50_ms=st.floats(0, 1e4),
    p99_ms=st.floats(0, 1e4),
    processor_us=st.dictionaries(st.sampled_from(("gateway", "triton")), st.floats(0, 1e6)),
    logged=COUNTS,
    dropped=COUNTS,
)


def run_of(target: str, requests: int, number: int = 1, connections: int = 16) -> Run:
    return Run(target, connections, number, requests, 0, 1.0, 1.0, 2.0, {"triton": 100.0})


@st.composite
def cases(draw: st.DrawFn) -> CaseResult:
    """A case whose limit was measured wherever something was, as it is in every run."""
    runs = draw(st.lists(RUNS, min_size=1, max_size=30))
    limits = [run_of(TRITON, draw(COUNTS), connections=count) for count in {run.connections for run in runs}]
    left_out = draw(st.dictionaries(st.sampled_from(("BentoML 3", "Ray 4")), st.text(max_size=40), max_size=2))
    return CaseResult("mlp", "a case", TRITON, dict.fromkeys(PEERS, "how"), left_out, limits + runs)


def results_of(*cases: CaseResult) -> Results:
    machine = {"processor": "some", "cores": 2}
    log = {"answered": 100, "dropped": 1, "kept": 98}
    return Results("2026-01-01T00:00:00+00:00", {"id": "abc", "changed": True}, machine, {}, {}, list(cases), {}, log)


def printed(*shown: object) -> str:
    console = Console(width=200, record=True, file=StringIO())
    console.print(*shown)
    return console.export_text()


@given(st.lists(RUNS, min_size=1, max_size=9))
def test_a_median_is_one_of_the_runs_and_in_the_middle(runs: list[Run]) -> None:
    row = row_of(runs)
    assert row.median in runs
    assert sum(run.rate < row.median.rate for run in runs) <= len(runs) / 2
    assert sum(run.rate > row.median.rate for run in runs) <= len(runs) / 2
    assert row.failed == sum(run.failed for run in runs), "failures of any round are shown"


@given(cases())
def test_the_best_peer_has_the_highest_median(case: CaseResult) -> None:
    for connections, rows in case.rows().items():
        rates = {name: row.median.rate for name, row in rows.items() if name in PEERS}
        best = case.best_peer(connections)
        assert (best is None) == (not rates)
        assert best is None or rates[best] == max(rates.values())


def test_a_ratio_is_of_medians() -> None:
    case = CaseResult("mlp", "a case", TRITON, {"LitServe 2": "how"})
    for number, (triton, gateway, peer) in enumerate([(100, 50, 10), (300, 90, 20), (200, 70, 30)], start=1):
        case.runs += [run_of(TRITON, triton, number), run_of("gateway", gateway, number)]
        case.runs.append(run_of("LitServe 2", peer, number))
    rows = case.rows()[16]
    assert ratio(rows["gateway"], rows[TRITON]) == pytest.approx(0.35)
    assert ratio(rows["gateway"], rows["LitServe 2"]) == pytest.approx(3.5)
    text = printed(*report.tables(results_of(case)))
    (line,) = (line for line in text.splitlines() if "gateway" in line and "70" in line)
    assert "0.35" in line
    assert "3.50" in line


def test_what_answered_nothing_is_compared_with_nothing() -> None:
    nothing = row_of([run_of(TRITON, 0)])
    assert ratio(nothing, nothing) is None
    assert row_of([run_of("gateway", 1)]).dropped_share is None


@given(st.lists(cases(), max_size=3))
def test_all_that_was_measured_or_left_out_is_shown(cases: list[CaseResult]) -> None:
    text = printed(*report.tables(results_of(*cases)))
    for case in cases:
        assert all(run.target in text for run in case.runs)
        assert all(name in text for name in case.left_out)
    assert text.count("left out") >= sum(len(case.left_out) for case in cases)


def test_lost_rows_are_a_share() -> None:
    results = results_of()
    said = report.prediction_log(results)
    assert "100 rows of this run, 1 dropped by inference, 98 kept by monitor: 2.000% lost" in said
    results.prediction_log = {}
    assert "no row" in report.prediction_log(results)


def test_a_reason_is_no_markup() -> None:
    case = CaseResult("mlp", "a case", TRITON, {}, {"LitServe 2": "see [/tmp/x] [bold]"}, [run_of(TRITON, 1)])
    assert "LitServe 2 is left out: see [/tmp/x] [bold]" in printed(*report.tables(results_of(case)))


@given(st.lists(cases(), max_size=3))
def test_what_is_written_is_read_again(tmp_path_factory: pytest.TempPathFactory, cases: list[CaseResult]) -> None:
    path, results = tmp_path_factory.mktemp("results") / "a.json", results_of(*cases)
    results.write(path)
    assert Results.read(path) == results


@pytest.mark.parametrize("content", ["[]", "{}", '{"format": 0}', "not JSON"])
def test_results_of_another_format_are_refused(tmp_path: Path, content: str) -> None:
    path = tmp_path / "a.json"
    path.write_text(content)
    with pytest.raises(ValueError, match=r"format|Expecting"):
        Results.read(path)


def test_the_newest_results_are_found_by_their_names(tmp_path: Path) -> None:
    assert newest(tmp_path) is None
    for name in ("20260101T000000Z", "20261127T224624Z", "20260301T000000Z"):
        (tmp_path / f"{name}.json").touch()
    assert newest(tmp_path) == tmp_path / "20261127T224624Z.json"


@given(st.lists(cases(), max_size=3))
def test_a_figure_shows_every_target_between_its_lowest_and_highest(cases: list[CaseResult]) -> None:
    drawn = figure(results_of(*cases))
    assert "abc + changes" in drawn.title
    assert len(drawn.panels) == len(cases)
    for case, panel in zip(cases, drawn.panels, strict=True):
        assert {line.name for line in panel.lines} == {run.target for run in case.runs}
        for line in panel.lines:
            assert list(line.connections) == sorted(line.connections)
            for lowest, median, highest in zip(line.lowest, line.median, line.highest, strict=True):
                assert lowest <= median <= highest
