"""The benchmark of the event plane says what it measured, and of whom it could not."""

import re
from io import StringIO

import pytest
from rich.console import Console

from benchmarks import data_plane
from benchmarks.events import comparison, pace
from benchmarks.events.comparison import Found, tables
from benchmarks.events.measuring import Run
from benchmarks.events.scenes import PEER

PARTS = {"NATS": 200.0, "PostgreSQL": 400.0, "writer": 300.0, "hearer": 100.0}


def text(found: Found, stored: int = 0) -> str:
    console = Console(width=160, file=StringIO())
    console.print(*tables(found, stored))
    written: str = console.file.getvalue()  # type: ignore[attr-defined]
    return written


def test_medians_stand_in_the_tables() -> None:
    runs = [Run(rate, 2.0, 4.0, PARTS) for rate in (900.0, 1200.0, 1000.0)]
    found = Found({"ours": runs}, {"ours": runs}, {"ours": [Run(500.0, 0, 0, PARTS)]}, {"publish": [4000.0]})
    found.left_out["a peer"] = "no wheel"
    shown = text(found, 5_000_000)
    assert re.search(r"ours\s*│\s*1,000 │\s*2.0 │\s*4.0", shown)
    assert re.search(r"nats-py alone, publish\s*│\s*4,000", shown)
    assert "left out: no wheel" in shown
    assert re.search(r"ours\s*│\s*200 │\s*400 │\s*300 │\s*100 │\s*1000", shown)
    assert re.search(r"with 5,000,000 events stored", shown)
    assert re.search(r"ours\s*│\s*500 │\s*0.50 │\s*1000 │\s*1.00", shown)


@pytest.mark.parametrize("given", (["--rounds", "0"], ["--events", "1"], ["--stored", "-1"], ["--unknown"]))
def test_the_load_is_bounded(given: list[str]) -> None:
    with pytest.raises(SystemExit):
        comparison.parser().parse_args(given)


def test_it_is_a_form_of_bench() -> None:
    assert data_plane.ELSEWHERE["--events"] is comparison.main


def test_the_peer_is_locked() -> None:
    lines = (PEER / "requirements.txt").read_text().split()
    assert all(re.fullmatch(r"[A-Za-z0-9._-]+==[A-Za-z0-9.]+", line) for line in lines)


@pytest.mark.parametrize("rate", (0.0, 10_000.0))
async def test_every_change_is_made_once(rate: float) -> None:
    made: list[int] = []

    async def change(number: int) -> None:
        made.append(number)

    await pace.changes(change, 30, rate)
    assert sorted(made) == list(range(30))
