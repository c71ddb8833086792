"""The comparison of training loops: the bare one and ours end with the same weights, and ratios are of one round."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks.training.comparison import Compared, table
from benchmarks.training.loops import BARE, LOOPS, OURS, Loop
from benchmarks.training.running import Run

ROOT = Path(__file__).parents[2]


def run_of(loop: float, weights: str = "w") -> Run:
    return Run(loop=loop, whole=2 * loop, wall=3 * loop, weights=weights)


def test_each_run_is_compared_with_the_bare_one_of_its_round() -> None:
    runs = {BARE: [run_of(1.0), run_of(2.0)], OURS: [run_of(1.5), run_of(2.0, "other")]}
    found = Compared("digits-cnn", 3, runs, {"MLflow": "no such wheel"})
    assert found.ratios(OURS, "loop") == found.ratios(OURS, "whole") == [1.5, 1.0]
    assert found.are_same(BARE) and not found.are_same(OURS)
    assert table(found).row_count == 3


@pytest.mark.parametrize("loop", [loop for loop in LOOPS if loop.peer], ids=lambda loop: loop.title)
def test_a_peer_is_locked_and_its_program_is_there(loop: Loop) -> None:
    assert loop.label.split()[-1][0].isdigit()
    assert Path(loop.program[0]).is_file()


def test_our_loop_is_the_bare_one_with_books(tmp_path: Path) -> None:
    """In a process of its own: it takes in every process that is left behind."""
    command = ["-m", "benchmarks.data_plane", "--training", "--rounds", "1", "--members", "digits-cnn"]
    done = subprocess.run(
        [sys.executable, *command, "--epochs", "2", "--no-peers", "--home", str(tmp_path)],
        cwd=ROOT,
        check=True,
        capture_output=True,
        text=True,
    )
    assert "same weights" in done.stdout
    (path,) = (tmp_path / "bench" / "training").glob("*.json")
    (member,) = json.loads(path.read_text())["members"]
    assert member["left_out"] == {}
    bare, ours = (member["runs"][name][0] for name in (BARE, OURS))
    assert bare["weights"] == ours["weights"]
    assert 0 < bare["loop"] < bare["whole"] and 0 < ours["loop"] < ours["whole"]
