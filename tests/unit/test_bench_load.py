"""What load generators print is read by the letter, and what they are told is right."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks import h2load, load, log_rows, processor, surroundings
from benchmarks.load import Target, WrongAnswer

WRK = """Running 2s test @ http://127.0.0.1:8000/predict
  1 threads and 16 connections
  Thread Stats   Avg      Stdev     Max   +/- Stdev
    Latency   13.35ms    5.25ms  52.54ms   82.48%
    Req/Sec     1.20k   125.07     1.40k    75.00%
  Latency Distribution
     50%   12.60ms
     75%   15.10ms
     90%   18.80ms
     99%    1.02s
  2390 requests in 2.01s, 0.91MB read
{more}Requests/sec:   1189.05
Transfer/sec:    463.45KB
"""
H2LOAD = """finished in 2.00s, 1277.00 req/s, 300.69KB/s
requests: 2570 total, 2570 started, 2554 done, 2554 succeeded, 0 failed, 0 errored, 0 timeout
status codes: 2570 2xx, 0 3xx, 0 4xx, 0 5xx
traffic: 601.38KB (615814) total, 27.20KB (27853) headers (space savings 92.91%), 349.18KB ({data}) data
"""


def target(**changed: object) -> Target:
    given = {"name": "a", "url": "http://127.0.0.1:8000", "paths": ("/x",), "body": b"{}", "headers": {}}
    return Target(**given | {"ask": lambda *_: np.ones(1), "expected": (np.ones(1),)} | changed)  # type: ignore[arg-type]


def test_wrk_says_what_it_measured() -> None:
    found = load.parse(WRK.format(more=""))
    assert (found.requests, found.failed, found.seconds) == (2390, 0, 2.01)
    assert (found.p50_ms, found.p99_ms) == (12.6, 1020.0)
    assert found.requests_per_second == pytest.approx(2390 / 2.01)


def test_errors_are_no_answers() -> None:
    more = "  Socket errors: connect 1, read 2, write 3, timeout 4\n  Non-2xx or 3xx responses: 390\n"
    found = load.parse(WRK.format(more=more))
    assert (found.requests, found.failed) == (2000, 400)


@pytest.mark.parametrize("lost", ["requests in", "50%", "99%"])
def test_an_output_without_a_figure_is_refused(lost: str) -> None:
    with pytest.raises(ValueError, match="wrk printed no"):
        load.parse(WRK.format(more="").replace(lost, "?"))


@given(st.floats(0.01, 1000), st.sampled_from(sorted(load.UNITS)))
def test_durations_have_units(number: float, unit: str) -> None:
    text = f"{number:.2f}{unit}"
    found = load.parse(WRK.format(more="").replace("12.60ms", text))
    assert found.p50_ms == pytest.approx(float(f"{number:.2f}") * load.UNITS[unit])


def test_the_key_is_in_the_script_alone() -> None:
    text = load.script(target(headers={"Authorization": 'Bearer "x"'}), Path("/body"))
    assert 'wrk.headers["Authorization"] = "Bearer \\"x\\""' in text
    assert "request = function" not in text, "one path needs no Lua for each request"
    turns = load.script(target(paths=("/a", "/b")), Path("/body"))
    assert '{"/a", "/b"}' in turns


@pytest.mark.parametrize("url", ["http://10.0.0.1:80", "https://127.0.0.1:1", "http://127.0.0.1", "http://localhost:1"])
def test_load_goes_to_this_machine_alone(url: str) -> None:
    with pytest.raises(ValueError, match="loopback"):
        target(url=url)


def test_a_wrong_answer_is_not_measured() -> None:
    target().check()
    with pytest.raises(WrongAnswer, match="not \\[2.0\\]"):
        target(expected=(np.full(1, 2.0),)).check()
    with pytest.raises(WrongAnswer):
        target(ask=lambda *_: np.ones(2)).check()


@given(st.integers(0, 2554))
def test_refusals_of_grpc_carry_no_message(refused: int) -> None:
    log = "1\t200\t1500\n2\t200\t2500\n"
    found = h2load.parse(H2LOAD.format(data=(2554 - refused) * 140), log, 2, 140)
    assert (found.requests, found.failed) == (2554 - refused, refused)
    assert 1.5 <= found.p50_ms <= found.p99_ms <= 2.5


def test_an_output_of_h2load_without_counts_is_refused() -> None:
    with pytest.raises(ValueError, match="no counts"):
        h2load.parse("usage: h2load", "", 1, 1)


def test_without_wrk_one_line_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    with pytest.raises(SystemExit, match="apt-get install wrk"):
        load.find_wrk()


def test_rows_of_the_prediction_log_are_counted_over_models() -> None:
    lines = [
        "# TYPE aimass_predictions_total counter",
        'aimass_predictions_total{model="a",project="default",status="200"} 3.0',
        'aimass_predictions_total{model="b",project="default",status="400"} 4.0',
        "# TYPE aimass_predictions_dropped_total counter",
        "aimass_predictions_dropped_total 2.0",
        "",
    ]
    assert log_rows.counts("\n".join(lines)) == log_rows.Counts(7, 2)


BUSY = "import time\nwhile time.process_time() < 0.5: pass"
PARENT = f"import subprocess, sys\nsubprocess.run([sys.executable, '-c', {BUSY!r}])\nprint('done', flush=True)\ninput()"


def test_the_time_of_children_that_have_ended_stays_counted() -> None:
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    with subprocess.Popen([sys.executable, "-c", PARENT], **pipes, text=True) as parent:  # type: ignore[call-overload]
        assert parent.stdout.readline() == "done\n"
        counted = processor.seconds({"parent": parent.pid, processor.MANAGER: parent.pid})
        assert counted["parent"] >= 0.48, "0.5 s, in ticks of the kernel"
        parent.communicate("\n")


def test_the_processor_has_a_name() -> None:
    assert surroundings.processor("vendor_id\t: x\nmodel name\t: Some CPU @ 2 GHz\nflags\t: a\n") == "Some CPU @ 2 GHz"
    assert surroundings.processor("") != ""
