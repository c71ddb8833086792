"""A call's spans become stages that add up, and a trace that other tools open; a graph's profile, its operators."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from benchmarks.call_trace import STAGES, Call, by_operator, call_of, chrome, medians, usual
from benchmarks.graph_profile import operators
from tests.integration.networks import convolutions, images

CALL = Call(1000.0, 3000.0, (1200.0, 2900.0), (1500.0, 2600.0), (1550.0, 2500.0))


def span(name: str, begin: int, end: int) -> dict[str, Any]:
    moment = "2026-11-28T08:00:00.{:06d}Z"
    return {"name": name, "start_time": moment.format(begin), "end_time": moment.format(end)}


def test_the_stages_of_a_call_add_up() -> None:
    assert list(CALL.stages().values()) == [300, 300, 150, 950, 300]
    assert sum(CALL.stages().values()) == CALL.total
    assert medians([CALL]) == CALL.stages()
    assert CALL.stages().keys() == STAGES.keys()


def test_a_call_is_known_once_all_its_spans_are_written() -> None:
    spans = [span("POST /v2/models/m/infer", 100, 900), span("infer m", 300, 700), span("triton infer", 320, 680)]
    assert call_of(0, 1, spans[:2]) is None
    call = call_of(0, 1, spans)
    assert call is not None
    assert call.gateway[1] - call.gateway[0] == pytest.approx(800)
    assert call.triton[0] - call.inference[0] == pytest.approx(20)


def test_the_call_in_the_middle_is_drawn() -> None:
    fast, slow = (Call(0, total, (0, 9), (1, 8), (2, 7)) for total in (10.0, 99.0))
    assert usual([slow, CALL, fast]) is slow
    drawn = chrome("m", CALL, [{"name": "conv", "operator": "Conv", "start": 5, "duration": 7}])
    events = [event for event in json.loads(json.dumps(drawn))["traceEvents"] if event["ph"] == "X"]
    assert [(event["name"], event["ts"], event["dur"]) for event in events] == [
        ("call of m", 0, 2000),
        ("gateway", 200, 1700),
        ("inference", 500, 1100),
        ("triton infer", 550, 950),
        ("conv", 555, 7),
    ]
    assert len({event["pid"] for event in events}) == 5


def test_a_graph_is_profiled_operator_by_operator(tmp_path: Path) -> None:
    (tmp_path / "model.onnx").write_bytes(convolutions().onnx)
    found = operators(tmp_path / "model.onnx", images(4), tmp_path)
    counts = {operator: count for operator, (count, _) in by_operator(found).items()}
    assert sum(count for operator, count in counts.items() if "Conv" in operator) == 2
    assert counts["Softmax"] == 1
    assert np.all(np.diff([each["start"] for each in found]) >= 0)
    assert all(each["start"] >= 0 and each["duration"] >= 0 for each in found)
