"""Requests a second and latency: Triton directly (HTTP, binary tensors) and through the gateway, in one run.

Both get the same tensor; the gateway checks a key, counts and logs every prediction meanwhile. Figures of one machine
move by a factor of two with its mood: the ratio is what counts.
"""

import argparse
import json
import math
import statistics
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
from rich.console import Console
from rich.table import Table

from benchmarks import processor
from benchmarks.brought import bring, image_mean
from benchmarks.load import Measured, Target, find_wrk, run
from deploy.embedded.parts import DEFAULT_HOME
from deploy.embedded.stack import Stack
from examples.champion import client_of, ensure_champion
from shared.oip import HEADER_LENGTH

MODEL = "digits-cnn"
IMAGES = "bench-image"


@dataclass(frozen=True)
class Case:
    """A model, the one tensor that it gets, an output that it gives, and the numbers of connections to try."""

    model: str
    input: str
    shape: tuple[int, ...]
    output: str
    connections: tuple[int, ...]


SMALL = Case(MODEL, "image", (1, 1, 8, 8), "probabilities", (1, 16, 64, 256))
LARGE = Case(IMAGES, "x", (1, 3, 224, 224), "y", (1, 16))


def request_body(case: Case) -> tuple[bytes, int]:
    """One batch of ones in binary tensors: body and length of its JSON header."""
    count = math.prod(case.shape)
    size = {"binary_data_size": 4 * count}
    tensor = {"name": case.input, "datatype": "FP32", "shape": case.shape, "parameters": size}
    header = json.dumps({"inputs": [tensor], "parameters": {"binary_data_output": True}}).encode()
    return header + b"\x00\x00\x80\x3f" * count, len(header)


def targets(info: dict[str, Any], case: Case, version: int) -> tuple[Target, Target]:
    """Triton itself and the gateway, with the same request."""
    body, length = request_body(case)
    headers = {HEADER_LENGTH: str(length), "Content-Type": "application/octet-stream"}
    key = Path(info["admin_key_file"]).read_text().strip()
    triton = f"{info['triton']['http']}/v2/models/default.{case.model}.{version}/infer"
    gateway = f"{info['gateway']}/v2/models/{case.model}/infer"
    return (
        Target("Triton", triton, body, headers),
        Target("gateway", gateway, body, headers | {"Authorization": f"Bearer {key}"}),
    )


def check(target: Target, output: str) -> None:
    """One request by hand: a benchmark of errors would look fast."""
    response = httpx.post(target.url, content=target.body, headers=target.headers, timeout=30)
    response.raise_for_status()
    if f'"{output}"'.encode() not in response.content:
        raise ValueError(f"{target.name} answered {response.content[:200]!r}")


@dataclass(frozen=True)
class Run:
    """What wrk measured, and the microseconds of processor time that each part of the stack took for a request."""

    measured: Measured
    processor: dict[str, float]


def measure(
    info: dict[str, Any], pair: tuple[Target, Target], connections: int, seconds: int, rounds: int
) -> tuple[Run, Run]:
    """Alternate between both, and take of each the run with the median rate."""
    runs: tuple[list[Run], list[Run]] = ([], [])
    for _ in range(rounds):
        for target, found in zip(pair, runs, strict=True):
            before = processor.seconds(info["processes"])
            measured = run(target, connections, seconds)
            after = processor.seconds(info["processes"])
            requests = measured.requests_per_second * seconds
            found.append(Run(measured, processor.spent(before, after, requests)))
    first, second = (_median(found) for found in runs)
    return first, second


def _median(found: list[Run]) -> Run:
    rate = statistics.median_low(one.measured.requests_per_second for one in found)
    return next(one for one in found if one.measured.requests_per_second == rate)


def processor_table(case: Case, rows: list[tuple[int, Run, Run]]) -> Table:
    shown = Table("connections", "to", "all", "each", title=f"{case.model}: µs of processor time a request")
    for connections, *runs in rows:
        for name, found in zip(("Triton", "gateway"), runs, strict=True):
            each = ", ".join(f"{part} {used:.0f}" for part, used in found.processor.items() if used >= 1)
            shown.add_row(str(connections), name, f"{sum(found.processor.values()):.0f}", each)
    return shown


def table(case: Case, rows: list[tuple[int, Run, Run]]) -> Table:
    shown = Table(title=f"{case.model}, one tensor {list(case.shape)} FP32, binary, wrk on the same machine")
    for column in ("conn.", "Triton/s", "p50/p99 ms", "gateway/s", "p50/p99 ms", "ratio", "failed"):
        shown.add_column(column, justify="right")
    for connections, *runs in rows:
        triton, gateway = (found.measured for found in runs)
        ratio = gateway.requests_per_second / triton.requests_per_second
        shown.add_row(
            str(connections), *_cells(triton), *_cells(gateway), f"{ratio:.2f}", str(triton.failed + gateway.failed)
        )
    return shown


def _cells(found: Measured) -> tuple[str, str]:
    return f"{found.requests_per_second:,.0f}", f"{found.p50_ms:.2f} / {found.p99_ms:.1f}"


def compare(info: dict[str, Any], case: Case, version: int, seconds: int, rounds: int) -> tuple[Table, Table]:
    pair = targets(info, case, version)
    for target in pair:
        check(target, case.output)
        run(target, 16, 2)
    rows = [(count, *measure(info, pair, count, seconds, rounds)) for count in case.connections]
    return table(case, rows), processor_table(case, rows)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=int, default=4, help="of each run")
    parser.add_argument("--rounds", type=int, default=3, help="runs of each target at each number of connections")
    parser.add_argument("--home", help="the state folder of the stack", default=DEFAULT_HOME)
    chosen = parser.parse_args()
    find_wrk()
    stack = Stack(chosen.home)
    stack.up()
    console, version = Console(), ensure_champion(stack.info, MODEL)
    console.print(*compare(stack.info, SMALL, version, chosen.seconds, chosen.rounds))
    with client_of(stack.info) as client:
        version = bring(client, IMAGES, image_mean())
    console.print(*compare(stack.info, LARGE, version, chosen.seconds, chosen.rounds))


if __name__ == "__main__":
    main()
