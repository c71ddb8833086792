"""`./justw library` takes members the whole way, and says in a row why one failed."""

import json
from pathlib import Path

import pytest
from rich.console import Console

import library
from examples.all_members import LEFT_OUT, Journey, MemberFailed, chosen_members, is_left_out, run_all, tell
from examples.champion import client_of
from examples.member_row import Row
from tests.house import House

pytestmark = pytest.mark.library
MODEL = "diabetes-mlp"


def rows_of(house: House, **config: int) -> list[Row]:
    return run_all(house.stack.info, [MODEL], config, Console(quiet=True), load_seconds=0.3)


def test_a_member_is_trained_judged_beside_its_baseline_and_called(house: House, tmp_path: Path) -> None:
    (row,) = rows_of(house, seed=1)
    assert row.problem == ""
    assert (row.metric, row.baseline_method, row.beaten, row.gate_passed) == ("rmse", "ridge regression", True, True)
    assert row.value is not None
    assert row.baseline is not None
    assert 40 < row.value < row.baseline < 60
    for figure in (row.training_seconds, row.artifact_bytes, row.p50_ms, row.requests_per_second):
        assert figure is not None
        assert figure > 0
    tell([row], "here", tmp_path, Console(quiet=True))
    (told,) = json.loads((tmp_path / "library-measured.json").read_text())["members"]
    assert Row(**told) == row
    assert f"| {MODEL} | regression | rmse | {row.value:.4f} |" in (tmp_path / "library-measured.md").read_text()


def test_a_member_that_fails_is_a_row_that_says_why(house: House) -> None:
    (row,) = rows_of(house, epochs=1)
    assert row.gate_passed is False
    assert row.problem.startswith("gate failed: rmse is ")
    assert (row.p50_ms, row.requests_per_second) == (None, None)
    (again,) = rows_of(house, epochs=1)
    assert (again.value, again.repeats) == (row.value, True)


def test_an_unknown_member_is_refused_with_the_names_of_all(house: House) -> None:
    with pytest.raises(MemberFailed, match="has no nope; it has asr-tiny, breast-cancer-mlp, "):
        run_all(house.stack.info, ["nope"], {}, Console(quiet=True), load_seconds=0.3)


def test_a_member_that_takes_long_is_left_out_unless_it_is_asked_for_and_its_row_says_so(house: House) -> None:
    with client_of(house.stack.info) as client:
        members = chosen_members(client, [])
        long = [member["name"] for member in members if is_left_out(member, [], full=False)]
        assert long == [name for name, model in library.models().items() if model.long] == ["tts-distilled"]
        assert not any(
            is_left_out(member, [], full=True) or is_left_out(member, long, full=False) for member in members
        )
        row = Journey(client, "", members[0], 0.3, Console(quiet=True)).left_out()
    assert (row.remark, row.problem) == (LEFT_OUT, "")
