"""Makes each optimised form of a version on the running stack and tells what it costs and gains beside the original.

The metric is the evaluator's, on the test part, of the version as served; speed is measured in turn, form and original.
"""

import argparse
import asyncio
import sys
import tempfile
import time
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from aimass import ApiError, Client, arrays
from numpy.typing import NDArray
from rich.console import Console

from benchmarks.interleaved import Plan, Target, speeds, timed
from benchmarks.optimised_table import Form, lines, write
from benchmarks.short_load import NotAnswered
from deploy.embedded.parts import DEFAULT_HOME
from deploy.embedded.stack import Stack
from examples.all_members import DTYPES, about, example_of
from examples.champion import client_of, serving, version_of
from library.graphs.front import as_text
from library.optimisation.graphs import session

WAYS = ("graph", "int8-dynamic", "int8-static", "prune-channels:share=0.25", "prune-weights:share=0.5")
ORIGINAL = "original"
ROWS = 64
SECONDS = 600.0
READY_SECONDS = 30.0
LIVE = ("staged", "serving")
Arrays = dict[str, NDArray[Any]]


class NotMeasured(Exception):
    """A form was not made, judged or timed; the message says why."""


class Workbench:
    """A version and the forms that are made of it."""

    def __init__(self, client: Client, gateway: str, model: str, version: int, plan: Plan, folder: Path) -> None:
        self._client, self._gateway, self._model, self._plan, self._folder = client, gateway, model, plan, folder
        self._rows = rows_of(client, model, version)
        self.original = Form(ORIGINAL, version)
        self._judge(self.original, version)

    def make(self, way: str) -> Form:
        """A form by a way such as int8-static:rows=512; what fails is told by the form."""
        form = Form(way)
        try:
            form.version = self._made(way)
            self._judge(form, form.version)
            self._time_graphs(form, form.version)
            if form.gate_passed:
                self._time_served(form, form.version)
        except (NotMeasured, ApiError, NotAnswered, TimeoutError) as error:
            form.problem = str(error) or type(error).__name__
        return form

    def _made(self, way: str) -> int:
        method, config = parsed(way)
        assert self.original.version is not None
        accepted = self._client.optimise(self._model, self.original.version, method, **config)
        *_, task = self._client.watch(accepted["id"])
        if task["state"] != "succeeded":
            raise NotMeasured(f"{task['state']}: {task['error_message']}")
        version: int = waited(lambda: version_of(self._client, accepted["id"], self._model), "a version")
        return version

    def _judge(self, form: Form, version: int) -> None:
        evaluation = waited(lambda: self._evaluation(version), "an evaluation")
        gate = self._client.version(self._model, version)["gate"]
        form.metric, form.gate_passed = gate[0]["metric"], evaluation["passed"]
        form.value = evaluation["metrics"].get(form.metric)
        form.artifact_bytes = self._file(version).stat().st_size
        if form is not self.original:
            form.change = difference(form.value, self.original.value)
            form.bytes_ratio = form.artifact_bytes / (self.original.artifact_bytes or 1)
        if not evaluation["passed"]:
            form.problem = "; ".join(evaluation["reasons"])

    def _evaluation(self, version: int) -> Any:
        for found in self._client.evaluations(self._model, version):
            if found["passed"] is not None:
                return found
            if found["state"] in ("failed", "cancelled"):
                raise NotMeasured(f"evaluation {found['state']}: {self._client.task(found['id'])['error_message']}")
        return None

    def _time_served(self, form: Form, version: int) -> None:
        """Through the gateway, beside the original, in turn."""
        assert self.original.version is not None
        targets = {ORIGINAL: self._target(self.original.version), form.name: self._target(version)}
        found = asyncio.run(speeds(targets, self._client.authorization, self._plan))
        before, after = found[ORIGINAL], found[form.name]
        form.p50_ms, form.rows_per_second = after.p50_ms, after.rows_per_second
        form.p50_ratio = after.p50_ms / before.p50_ms
        form.rows_ratio = after.rows_ratio
        if self.original.p50_ms is None:
            self.original.p50_ms, self.original.rows_per_second = before.p50_ms, before.rows_per_second

    def _target(self, version: int) -> Target:
        url = f"{self._gateway}/v2/models/{self._model}/versions/{version}/infer"
        return Target(url, arrays.encode(self._rows, ()), arrays.encode(repeated(self._rows, ROWS), ()), ROWS)

    def _time_graphs(self, form: Form, version: int) -> None:
        """In onnxruntime alone, one thread, in turn: what the way through the platform adds is not in it."""
        assert self.original.version is not None
        files = {ORIGINAL: self._file(self.original.version), form.name: self._file(version)}
        sessions = {name: session(onnx.load(str(path))) for name, path in files.items()}
        for attribute, count in (("one", 1), ("many", ROWS)):
            feeds = {name: as_text(column) for name, column in repeated(self._rows, count).items()}
            runs = {name: (lambda found=found, feeds=feeds: found.run(None, feeds)) for name, found in sessions.items()}
            found = timed(runs)
            setattr(form, f"{attribute}_ms", found[form.name])
            setattr(form, f"{attribute}_ratio", found[form.name] / found[ORIGINAL])
            if getattr(self.original, f"{attribute}_ms") is None:
                setattr(self.original, f"{attribute}_ms", found[ORIGINAL])

    def _file(self, version: int) -> Path:
        return model_file(self._client, self._model, version, self._folder)


def model_file(client: Client, model: str, version: int, folder: Path) -> Path:
    """The model file of a version, as it is exported."""
    target = folder / f"{version}.onnx"
    if not target.exists():
        packed = client.export_version(model, version, folder / f"{version}.zip")
        with zipfile.ZipFile(packed) as archive:
            target.write_bytes(archive.read("model.onnx"))
    return target


def waited(look: Any, what: str) -> Any:
    deadline = time.monotonic() + SECONDS
    while time.monotonic() < deadline:
        if (found := look()) is not None:
            return found
        time.sleep(0.3)
    raise NotMeasured(f"{what} did not come within {SECONDS:g} s")


def parsed(way: str) -> tuple[str, dict[str, Any]]:
    """A method and what it is told: `int8-static:rows=512,ranges=entropy`."""
    method, _, told = way.partition(":")
    pairs = (item.partition("=") for item in told.split(",") if item)
    return method, {name: [value] if name == "exclude" else value for name, _, value in pairs}


def difference(value: float | None, before: float | None) -> float | None:
    return None if value is None or before is None else value - before


def rows_of(client: Client, model: str, version: int) -> Arrays:
    """One row to ask with: the example of the library's member, or zeros as the signature wants them."""
    members = {member["name"]: member for member in client.library()}
    if model in members:
        return dict(example_of(members[model]))
    inputs = client.version(model, version)["signature"]["inputs"]
    return {spec["name"]: np.zeros([abs(n) for n in spec["shape"]], DTYPES[spec["datatype"]]) for spec in inputs}


def repeated(rows: Arrays, count: int) -> Arrays:
    return {name: np.repeat(column, count, axis=0) for name, column in rows.items()}


def chosen_version(client: Client, model: str, version: int | None) -> int:
    """The one named, or the one that serves; raises NotMeasured where none answers, at once or after a while."""
    deadline = time.monotonic() + READY_SECONDS
    while time.monotonic() < deadline:
        found = version or serving(client, model)
        live = [each for each in client.deployments(model) if each["version"] == found and each["state"] in LIVE]
        if found is not None and any(each["ready"] for each in live):
            return found
        if found is not None and not live:
            break
        time.sleep(0.3)
    raise NotMeasured(f"{model} has no such version that answers now: train it, or deploy it, first")


def forms_of(
    info: dict[str, Any], model: str, version: int | None, ways: Sequence[str], plan: Plan, console: Console
) -> list[Form]:
    """The version as it is and each of its forms."""
    with client_of(info) as client, tempfile.TemporaryDirectory() as folder:
        bench = Workbench(client, info["gateway"], model, chosen_version(client, model, version), plan, Path(folder))
        made = []
        for way in ways:
            with console.status(f"{way}: made, judged, timed"):
                made.append(bench.make(way))
            console.print(f"{way}: {made[-1].problem or 'done'}", highlight=False)
        return [bench.original, *made]


def tell(model: str, forms: Sequence[Form], told: Mapping[str, Any], console: Console) -> None:
    console.print(f"\n{lines([form for form in forms if form.version])}\n", soft_wrap=True, highlight=False)
    written = write(model, forms, told["about"], told["out"])
    console.print(f"{told['about']} Written: {', '.join(map(str, written))}")


def main() -> None:
    parser = argparse.ArgumentParser(prog="just optimise", description=__doc__)
    parser.add_argument("model", metavar="MODEL")
    parser.add_argument("version", metavar="VERSION", type=int, nargs="?", help="the one that serves, without")
    parser.add_argument("--way", action="append", help=f"METHOD[:NAME=VALUE,...], again for more; without: {WAYS}")
    parser.add_argument("--home", type=Path, help="the state folder of the stack", default=DEFAULT_HOME)
    parser.add_argument("--out", type=Path, help="the folder for MODEL.json and MODEL.md (default: in --home)")
    chosen = parser.parse_args()
    console, began = Console(), time.monotonic()
    try:
        info = Stack(chosen.home).info
        forms = forms_of(info, chosen.model, chosen.version, chosen.way or WAYS, Plan(), console)
    except (NotMeasured, ApiError, FileNotFoundError) as error:
        sys.exit(f"optimise: {error}")
    out = chosen.out or Path(chosen.home) / "optimised"
    tell(chosen.model, forms, {"about": about(time.monotonic() - began), "out": out}, console)


if __name__ == "__main__":
    main()
