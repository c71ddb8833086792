"""Where the time of a served call goes: gateway, bus, inference, Triton, and the operators of the graph.

Calls go through the gateway of the running stack, each in a trace of its own, whose spans the services write; the graph
is profiled by itself, in another process. The call in the middle is written as a trace for chrome://tracing, Perfetto.
"""

import argparse
import json
import secrets
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import httpx
import numpy as np
from aimass import ApiError, Client, arrays
from numpy.typing import NDArray
from rich.console import Console

from benchmarks.call_trace import STAGES, Call, Span, by_operator, call_of, chrome, medians, usual
from benchmarks.optimised import Arrays, NotMeasured, chosen_version, model_file, repeated, rows_of
from deploy.bootstrap import ROOT
from deploy.embedded.parts import DEFAULT_HOME
from deploy.embedded.stack import Stack
from examples.champion import client_of
from library.files import pack

CALLS, WARM_UP = 60, 10
PATIENCE_SECONDS = 60.0
STATISTICS = ("queue", "compute_input", "compute_infer", "compute_output")


class Profile:
    """What was found: the calls, what Triton counted of them (µs a call), and the operators of the graph."""

    def __init__(self, calls: list[Call], counted: dict[str, float], operators: list[dict[str, Any]]) -> None:
        self.calls, self.counted, self.operators = calls, counted, operators


def profile(home: Path, info: Mapping[str, Any], model: str, version: int | None, rows: int) -> Profile:
    """Raises NotMeasured where no version answers, or its spans do not come."""
    with client_of(dict(info)) as client, tempfile.TemporaryDirectory() as folder:
        number = chosen_version(client, model, version)
        asked = repeated(rows_of(client, model, number), rows)
        operators = _operators(client, model, number, asked, Path(folder))
        path = f"/v2/models/{model}/versions/{number}"
        headers = {"Authorization": client.authorization}
        with httpx.Client(base_url=str(info["gateway"]), headers=headers, timeout=60) as http:
            before = _warmed(http, path, asked)
            sent = [_sent(http, path, asked) for _ in range(CALLS)]
            counted = _counted(before, _statistics(http, path))
        return Profile(_traced(home, sent), counted, operators)


def _warmed(http: httpx.Client, path: str, rows: Arrays) -> Mapping[str, Any]:
    for _ in range(WARM_UP):
        _sent(http, path, rows, sampled=False)
    return _statistics(http, path)


def _sent(http: httpx.Client, path: str, rows: Arrays, *, sampled: bool = True) -> tuple[str, float, float]:
    """The trace of a call, and when it was sent and answered."""
    body, headers = arrays.encode(rows, ())
    trace = secrets.token_hex(16)
    headers["traceparent"] = f"00-{trace}-{secrets.token_hex(8)}-0{int(sampled)}"
    wall, began = time.time() * 1e6, time.perf_counter()
    reply = http.post(f"{path}/infer", content=body, headers=headers)
    taken = (time.perf_counter() - began) * 1e6
    if reply.status_code != 200:
        raise NotMeasured(f"answered {reply.status_code}: {reply.text[:200]}")
    return trace, wall, wall + taken


def _statistics(http: httpx.Client, path: str) -> Mapping[str, Any]:
    found: Mapping[str, Any] = http.get(f"{path}/stats").raise_for_status().json()["model_stats"][0]
    return found


def _counted(before: Mapping[str, Any], after: Mapping[str, Any]) -> dict[str, float]:
    """µs a call of what Triton counts."""
    calls = max(1, after["inference_stats"]["success"]["count"] - before["inference_stats"]["success"]["count"])
    spent = {name: after["inference_stats"][name]["ns"] - before["inference_stats"][name]["ns"] for name in STATISTICS}
    return {name: ns / calls / 1000 for name, ns in spent.items()}


def _operators(client: Client, model: str, version: int, rows: Arrays, folder: Path) -> list[dict[str, Any]]:
    """Of the version's file as it is exported, by a process of its own."""
    file = model_file(client, model, version, folder)
    (folder / "rows.npz").write_bytes(pack({name: _plain(column) for name, column in rows.items()}))
    files = [str(file), *(str(folder / name) for name in ("rows.npz", "operators.json"))]
    done = subprocess.run([sys.executable, "-m", "benchmarks.graph_profile", *files], cwd=ROOT, capture_output=True)
    if done.returncode:
        raise NotMeasured(f"the graph cannot be profiled: {done.stderr.decode(errors='replace').strip()[-300:]}")
    found: list[dict[str, Any]] = json.loads(Path(files[-1]).read_text())
    return found


def _plain(column: NDArray[Any]) -> NDArray[Any]:
    """Text as bytes, which a file can hold."""
    return np.char.encode(column.astype(str)) if column.dtype.kind == "O" else column


def _traced(home: Path, sent: list[tuple[str, float, float]]) -> list[Call]:
    """The calls with their spans, which services write every second or so."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while time.monotonic() < deadline:
        spans = _spans(home, {trace for trace, _, _ in sent})
        calls = [call_of(begun, ended, spans.get(trace, [])) for trace, begun, ended in sent]
        if all(calls):
            return [call for call in calls if call]
        time.sleep(0.5)
    raise NotMeasured(f"the spans of these calls did not come within {PATIENCE_SECONDS:g} s: see {home / 'traces'}")


def _spans(home: Path, traces: set[str]) -> dict[str, list[Span]]:
    found: dict[str, list[Span]] = {}
    for service in ("gateway", "inference"):
        for path in (home / "traces").glob(f"{service}*"):
            for line in path.read_text().splitlines():
                span = json.loads(line)
                trace = span["context"]["trace_id"].removeprefix("0x")
                if trace in traces:
                    found.setdefault(trace, []).append(span)
    return found


def tell(found: Profile, console: Console) -> None:
    middle, total = medians(found.calls), usual(found.calls).total
    console.print(f"a call takes {total / 1000:.2f} ms, the middle of {len(found.calls)}:", highlight=False)
    for stage, spent in middle.items():
        console.print(
            f"  {spent:8.0f} µs  {spent / total:4.0%}  {stage}: {STAGES[stage]}", soft_wrap=True, highlight=False
        )
    named = ", ".join(f"{name.replace('_', ' ')} {spent:.0f}" for name, spent in found.counted.items())
    console.print(f"of Triton's share it counts itself, µs a call: {named}", highlight=False)
    spent_in_all = sum(each["duration"] for each in found.operators) or 1
    console.print(f"the graph alone, {spent_in_all:.0f} µs by operator:", highlight=False)
    for operator, (count, spent) in by_operator(found.operators).items():
        console.print(f"  {spent:8.0f} µs  {spent / spent_in_all:4.0%}  {operator} ({count})", highlight=False)


def main() -> None:
    parser = argparse.ArgumentParser(prog="just profile", description=__doc__)
    parser.add_argument("model", metavar="MODEL")
    parser.add_argument("version", metavar="VERSION", type=int, nargs="?", help="the one that serves, without")
    parser.add_argument("--rows", type=int, default=1, help="rows of each call")
    parser.add_argument("--home", type=Path, help="the state folder of the stack", default=DEFAULT_HOME)
    parser.add_argument("--out", type=Path, help="the trace (default: profiles/MODEL.json in --home)")
    chosen = parser.parse_args()
    home = Path(chosen.home).resolve()
    try:
        found = profile(home, Stack(home).info, chosen.model, chosen.version, chosen.rows)
    except (NotMeasured, ApiError, httpx.HTTPError) as error:
        sys.exit(f"profile: {error}")
    out = chosen.out or home / "profiles" / f"{chosen.model}.json"
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_text(json.dumps(chrome(chosen.model, usual(found.calls), found.operators)))
    console = Console()
    tell(found, console)
    console.print(f"written: {out}; open it in chrome://tracing or ui.perfetto.dev", soft_wrap=True, highlight=False)


if __name__ == "__main__":
    main()
