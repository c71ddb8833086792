"""A tiny benchmark of the running stack: right answers only, results that can be read, and a plot of them."""

import io
import json
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from rich.console import Console

from benchmarks import plot
from benchmarks.cases import CASES, GATEWAY, TRITON, Place, place_of
from benchmarks.data_plane import Choice, alone, measure, show
from benchmarks.load import Refused, WrongAnswer
from benchmarks.peers import PEERS, Peer
from benchmarks.results import Results
from tests.house import House


@pytest.fixture(scope="module")
def broken(tmp_path_factory: pytest.TempPathFactory) -> Peer:
    """A peer whose packages are not to be had."""
    folder = tmp_path_factory.mktemp("broken")
    (folder / "requirements.txt").write_text("# litserve==0\n./no-such-wheel.whl\n")
    return replace(next(peer for peer in PEERS if peer.name == "litserve"), home=str(folder))


@pytest.fixture(scope="module")
def measured(house: House, broken: Peer) -> Path:
    """One second of each load; where a generator is missing there is nothing to measure."""
    if shutil.which("wrk") is None:
        pytest.skip("wrk is missing: apt-get install wrk")
    return measure(
        house.stack,
        Choice(("mlp", "grpc"), (broken,), seconds=1, rounds=1, connections=frozenset({1, 16})),
        Console(file=io.StringIO()),
    )


@pytest.fixture
def place(house: House, tmp_path: Path) -> Iterator[Place]:
    with place_of(house.stack.info, tmp_path / "bench") as found:
        yield found


def test_results_are_whole(measured: Path, house: House) -> None:
    results = Results.read(measured)
    mlp = results.cases[0]
    assert [*mlp.rows()] == [1, 16]
    for rows in mlp.rows().values():
        assert [*rows] == [TRITON, GATEWAY]
        assert all(row.median.requests > 0 and row.failed == 0 for row in rows.values())
        assert rows[GATEWAY].logged >= rows[GATEWAY].median.requests, "every answer is a row of the log"
        assert {"gateway", "inference", "triton"} <= rows[GATEWAY].median.processor_us.keys()
    assert results.machine["cores"] >= 1
    assert results.machine["memory_bytes"] > 2**30
    assert results.versions["Triton"]
    assert house.key not in measured.read_text()


def test_a_peer_that_is_not_to_be_had_is_left_out_in_words(measured: Path, broken: Peer) -> None:
    assert "no-such-wheel" in Results.read(measured).cases[0].left_out[broken.label]


def test_no_row_of_the_prediction_log_is_lost(measured: Path) -> None:
    log = json.loads(measured.read_text())["prediction_log"]
    assert log["answered"] > 0
    assert log["dropped"] == 0
    assert log["kept"] >= log["answered"]


def test_grpc_is_measured_or_left_out_in_words(measured: Path) -> None:
    results = Results.read(measured)
    if shutil.which("h2load") is None:
        assert "nghttp2-client" in results.left_out["grpc"]
    else:
        rows = results.cases[1].rows()[16]
        assert all(row.median.requests > 0 and row.failed == 0 for row in rows.values())


@pytest.mark.slow
def test_results_are_shown_and_drawn(measured: Path) -> None:
    console = Console(file=io.StringIO(), record=True, width=120)
    show(measured, console)
    shown = console.export_text()
    assert "× Triton" in shown
    assert str(measured) in shown
    drawn = measured.with_suffix(".svg")
    assert f"plot: {drawn}" in shown
    assert "digits MLP" in drawn.read_text()


def test_a_key_in_argv_is_one_that_may_only_work_and_not_for_long(house: House, tmp_path: Path) -> None:
    if shutil.which("h2load") is None:
        pytest.skip("h2load is missing: apt-get install nghttp2-client")
    with place_of(house.stack.info, tmp_path / "bench") as place:
        _, gateway = CASES["grpc"](place).targets
        gateway.check()
        (mine,) = (key for key in place.client.api_keys() if key["name"] == "benchmark" and not key["revoked_at"])
        assert mine["roles"] == ["operator"]
        assert mine["expires_at"]
    (mine,) = (key for key in house.get("api-keys")["keys"] if key["id"] == mine["id"])
    assert mine["revoked_at"]


@pytest.mark.parametrize("name", ["json", "image", "mixed"])
def test_other_cases_get_right_answers(place: Place, name: str) -> None:
    case = CASES[name](place)
    for target in case.targets:
        target.check()
        with pytest.raises(WrongAnswer):
            replace(target, expected=tuple(value + 1 for value in target.expected)).check()
        with pytest.raises(Refused, match="404"):
            replace(target, paths=("/v2/models/no-such-model/infer",) * len(target.paths)).check()


def test_two_at_once_are_refused(tmp_path: Path) -> None:
    with alone(tmp_path), pytest.raises(SystemExit, match="another one runs"), alone(tmp_path):
        raise AssertionError("both ran")


def test_without_results_there_is_nothing_to_draw(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("sys.argv", ["bench-plot", "--home", str(tmp_path)])
    with pytest.raises(SystemExit, match="no results lie in"):
        plot.main()
