"""The table of `./justw optimise`, and how its ways and rows are read."""

import json
from pathlib import Path

import numpy as np

from benchmarks.interleaved import timed
from benchmarks.optimised import difference, parsed, repeated
from benchmarks.optimised_table import HEADINGS, Form, lines, write

ORIGINAL = Form("original", 1, "accuracy", 0.99, gate_passed=True, artifact_bytes=608_000, p50_ms=1.06)
STATIC = Form("int8-static", 4, "accuracy", 0.985, -0.005, False, 162_000, 0.267, one_ms=0.015, one_ratio=0.77)
STATIC.problem = "accuracy is 0.985 | the gate\nasks more"


def test_a_form_is_a_column_and_what_nobody_knows_is_left_out() -> None:
    found = {
        line.partition("  ")[0]: line.split("  ", 1)[1].split("  ") for line in lines([ORIGINAL, STATIC]).splitlines()
    }
    assert [cell.strip() for cell in found["file"] if cell.strip()] == ["608.0 kB", "162.0 kB"]
    assert "served: rows/s" not in found
    assert "problem" not in found


def test_the_page_has_a_row_each_and_the_file_every_figure(tmp_path: Path) -> None:
    document, page = write("digits-cnn", [ORIGINAL, STATIC], "here", tmp_path)
    assert [Form(**form) for form in json.loads(document.read_text())["forms"]] == [ORIGINAL, STATIC]
    rows = [line for line in page.read_text().splitlines() if line.startswith("| ")]
    assert [row.count("|") for row in rows] == [len(HEADINGS) + 1] * 3
    assert "| int8-static | 4 | accuracy | 0.9850 | -0.0050 | failed | 162.0 kB | × 0.27 |" in rows[2]


def test_ways_are_read_as_they_are_written() -> None:
    assert parsed("graph") == ("graph", {})
    assert parsed("int8-static:rows=512,ranges=entropy") == ("int8-static", {"rows": "512", "ranges": "entropy"})
    assert parsed("int8-dynamic:exclude=Gather") == ("int8-dynamic", {"exclude": ["Gather"]})


def test_rows_are_repeated_and_differences_need_both() -> None:
    assert repeated({"x": np.zeros((1, 3))}, 4)["x"].shape == (4, 3)
    assert (difference(0.5, 0.75), difference(None, 0.5)) == (-0.25, None)


def test_what_is_timed_in_turn_is_called_equally_often() -> None:
    calls = {"one": 0, "other": 0}

    def count(name: str) -> None:
        calls[name] += 1

    found = timed({name: lambda name=name: count(name) for name in calls}, most=7)
    assert calls == {"one": 8, "other": 8}
    assert all(value >= 0 for value in found.values())
