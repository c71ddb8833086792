"""Where the time of a graph goes, operator by operator: onnxruntime's own profile of an artifact, in this process.

`python -m benchmarks.graph_profile MODEL.onnx ROWS.npz OUT.json` writes the operators of the run in the middle.
"""

import json
import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import onnxruntime

from library.files import unpack
from library.graphs.front import as_text

WARM_UP, RUNS = 20, 101
Operators = list[dict[str, Any]]


def operators(file: Path, rows: "Mapping[str, Any]", folder: Path) -> Operators:
    """Name, type, start and duration (µs) of each operator, in the run whose time is in the middle of many."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.enable_profiling = True
    options.profile_file_prefix = str(folder / "onnxruntime")
    session = onnxruntime.InferenceSession(str(file), options, ["CPUExecutionProvider"])
    feeds = {name: as_text(column) for name, column in rows.items()}
    for _ in range(WARM_UP + RUNS):
        session.run(None, feeds)
    return middle(json.loads(Path(session.end_profiling()).read_text()))


def middle(events: Sequence[dict[str, Any]]) -> Operators:
    """The operators of the run in the middle, the first ones left out; starts count from its own."""
    runs = sorted((event for event in events if event.get("name") == "model_run"), key=lambda event: int(event["ts"]))
    chosen = sorted(runs[min(WARM_UP, len(runs) - 1) :], key=lambda event: int(event["dur"]))
    run = chosen[len(chosen) // 2]
    begin, end = run["ts"], run["ts"] + run["dur"]
    return [
        {
            "name": event["name"].removesuffix("_kernel_time"),
            "operator": event["args"]["op_name"],
            "start": event["ts"] - begin,
            "duration": event["dur"],
        }
        for event in events
        if event.get("cat") == "Node" and event["name"].endswith("_kernel_time") and begin <= event["ts"] <= end
    ]


def main() -> None:
    os.environ["ORT_DISABLE_TELEMETRY"] = "1"
    file, rows, out = map(Path, sys.argv[1:4])
    out.write_text(json.dumps(operators(file, unpack(rows), out.parent)))


if __name__ == "__main__":
    main()
