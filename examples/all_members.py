"""Trains each member of the library on the running stack, sees it evaluated, promoted and served, calls it, and tells.

Everything goes through the gateway, as any client would go.
"""

import argparse
import os
import platform
import subprocess
import sys
import tempfile
import time
import zipfile
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
from aimass import ApiError, Client, arrays
from aimass import types as t
from numpy.typing import NDArray
from rich.console import Console

from benchmarks.short_load import NotAnswered, ShortLoad
from deploy.bootstrap import ROOT
from deploy.embedded.parts import DEFAULT_HOME
from deploy.embedded.stack import Stack
from examples.champion import client_of, version_of, wait_served
from examples.member_row import Row, lines, size, write

TRAINING_SECONDS = 3600.0
EVALUATION_SECONDS = 600.0
LEFT_OUT = "left out, as it takes long: --full"
RECIPE = ("parameters", "dataset_digest", "code_version")
DTYPES = {**arrays.DATATYPES, "BYTES": "O"}


class MemberFailed(Exception):
    """A member did not come to its end; the message says why."""


class Journey:
    """One member on its way from training to answers; `row` grows as it goes."""

    def __init__(self, client: Client, gateway: str, member: t.Member, load_seconds: float, console: Console) -> None:
        self._client, self._gateway, self._member, self._console = client, gateway, member, console
        self._load_seconds = load_seconds
        self.row = Row(member["name"], member["task_type"])

    def go(self, config: dict[str, Any]) -> Row:
        """Train, wait, call; what fails is told by the row."""
        self._console.rule(self.row.member)
        try:
            self._go(config)
        except (MemberFailed, ApiError, NotAnswered, TimeoutError) as error:
            self.row.problem = str(error) or type(error).__name__
            self._say(f"[red]failed[/]: {self.row.problem}")
        return self.row

    def left_out(self) -> Row:
        """The row of a member that was not asked for."""
        self.row.remark = LEFT_OUT
        return self.row

    def _go(self, config: dict[str, Any]) -> None:
        task = self._train(config)
        version, evaluation = self._evaluated(task)
        self._judge(version, evaluation)
        wait_served(self._client, task["id"], self.row.member)
        self._say(f"version {version} is champion and serves")
        self._call()
        if self.row.beaten is False:
            raise MemberFailed("does not beat its baseline")
        if self.row.repeats is False:
            raise MemberFailed("is another file than an earlier training by the same seed, data and code_version made")

    def _train(self, config: dict[str, Any]) -> t.Task:
        accepted = self._client.train(self.row.member, config)
        seen = self._follow(accepted["id"])
        if seen["state"] != "succeeded":
            raise MemberFailed(f"training {seen['state']}: {seen['error_class']} {seen['error_message']}")
        self.row.training_seconds = seconds_of(seen)
        self._say(f"trained in {self.row.training_seconds:.1f} s")
        return seen

    def _follow(self, task_id: str) -> t.Task:
        with self._console.status("training") as status:
            for seen in self._client.watch(task_id, timeout=TRAINING_SECONDS):
                status.update(f"training: {seen['progress']:.0%} {seen['note']}")
        return seen

    def _evaluated(self, task: t.Task) -> tuple[int, t.Evaluation]:
        deadline = time.monotonic() + EVALUATION_SECONDS
        with self._console.status("evaluating as served"):
            while time.monotonic() < deadline:
                version = version_of(self._client, task["id"], self.row.member)
                if version is not None and (found := self._evaluation(version)) is not None:
                    return version, found
                time.sleep(0.3)
        raise MemberFailed(f"was not evaluated within {EVALUATION_SECONDS:g} s")

    def _evaluation(self, version: int) -> t.Evaluation | None:
        """The evaluation once it has ended; raises MemberFailed where it could not be made."""
        for found in self._client.evaluations(self.row.member, version):
            if found["passed"] is not None:
                return found
            if found["state"] in ("failed", "cancelled"):
                task = self._client.task(found["id"])
                raise MemberFailed(f"evaluation {found['state']}: {task['error_class']} {task['error_message']}")
        return None

    def _judge(self, version: int, evaluation: t.Evaluation) -> None:
        row = self.row
        row.metric = evaluation["baseline_metric"] or self._member["gate"][0]["metric"]
        row.value = evaluation["metrics"].get(row.metric)
        row.baseline_method, row.beaten = evaluation["baseline_method"], evaluation["baseline_beaten"]
        row.baseline = evaluation["baseline_metrics"].get(row.metric)
        row.gate_passed = evaluation["passed"]
        row.artifact_bytes = artifact_bytes(self._client, row.member, version)
        row.repeats = repeats(self._client, row.member, version)
        _, _, _, value, baseline, *_ = row.cells()
        self._say(f"evaluated as served: {row.metric} {value}, baseline {baseline}; {size(row.artifact_bytes)}")
        if not evaluation["passed"]:
            raise MemberFailed(f"gate failed: {'; '.join(evaluation['reasons'])}")

    def _call(self) -> None:
        """Once through the client, checked; then under a short load."""
        inputs = example_of(self._member)
        answer = self._client.predict(self.row.member, inputs)
        if not all(np.isfinite(array).all() for array in answer.values() if array.dtype.kind == "f"):
            raise MemberFailed("answers its own example with what is not a number")
        body, headers = arrays.encode(inputs, ())
        headers["Authorization"] = self._client.authorization
        with self._console.status("calling"):
            speed = ShortLoad(self._url, body, headers, seconds=self._load_seconds).run()
        self.row.p50_ms, self.row.requests_per_second = speed.p50_ms, speed.requests_per_second
        self._say(f"called: p50 {speed.p50_ms:.2f} ms, {speed.requests_per_second:.0f} requests/s")

    @property
    def _url(self) -> str:
        return f"{self._gateway}/v2/models/{self.row.member}/infer"

    def _say(self, line: str) -> None:
        self._console.print(f"  {line}", soft_wrap=True, highlight=False)


def seconds_of(task: t.Task) -> float:
    """Of the task's process, data set and export included."""
    started, ended = (datetime.fromisoformat(task[moment] or "") for moment in ("started_at", "ended_at"))
    return (ended - started).total_seconds()


def artifact_bytes(client: Client, model: str, version: int) -> int:
    """The size of the model file of a version, as it is exported."""
    with tempfile.TemporaryDirectory() as folder:
        path = client.export_version(model, version, Path(folder) / "version.zip")
        with zipfile.ZipFile(path) as archive:
            return sum(entry.file_size for entry in archive.infolist() if entry.filename.endswith(".onnx"))


def repeats(client: Client, model: str, version: int) -> bool | None:
    """Whether a version is the same file as those that were trained the same way; None where it is the first."""
    mine = client.version(model, version)
    others = [other for other in client.versions(model) if other["version"] != version]
    digests = {other["digest"] for other in others if all(other[name] == mine[name] for name in RECIPE)}  # type: ignore[literal-required]
    return digests == {mine["digest"]} if digests else None


def example_of(member: t.Member) -> dict[str, NDArray[Any]]:
    """The member's own example of a call, as arrays."""
    tensors = member["example"]["inputs"]
    return {
        tensor["name"]: np.array(tensor["data"], DTYPES[tensor["datatype"]]).reshape(tensor["shape"])
        for tensor in tensors
    }


def chosen_members(client: Client, names: Sequence[str]) -> list[t.Member]:
    """The members named, or all; raises MemberFailed for a name that the library lacks."""
    members = {member["name"]: member for member in client.library()}
    if unknown := [name for name in names if name not in members]:
        raise MemberFailed(f"the library has no {', '.join(unknown)}; it has {', '.join(members)}")
    return [members[name] for name in names or members]


def about(seconds: float) -> str:
    processor = platform.processor() or platform.machine()
    return f"{datetime.now(UTC):%Y-%m-%d}, {os.cpu_count()} CPU cores ({processor}), {seconds / 60:.1f} min in all."


def run_all(
    info: dict[str, Any],
    names: Sequence[str],
    config: dict[str, Any],
    console: Console,
    load_seconds: float,
    full: bool = False,
) -> list[Row]:
    """The members named, or all, one after the other on the stack that stack.json tells of; of all, those that take
    long only where they are asked for by `full`.
    """
    with client_of(info) as client:
        members = chosen_members(client, names)
        journeys = [Journey(client, info["gateway"], member, load_seconds, console) for member in members]
        return [
            journey.left_out() if is_left_out(member, names, full) else journey.go(config)
            for member, journey in zip(members, journeys, strict=True)
        ]


def is_left_out(member: t.Member, names: Sequence[str], full: bool) -> bool:
    """Whether it takes long and was asked for neither by its name nor with all."""
    return member["long"] and not full and member["name"] not in names


def tell(rows: Sequence[Row], told: str, out: Path, console: Console) -> None:
    console.print(f"\n{lines(rows)}\n", soft_wrap=True, highlight=False)
    console.print(f"{told} Written: {', '.join(map(str, write(rows, told, out)))}")


def ensure_up(home: Path) -> None:
    command = [sys.executable, "-m", "deploy.embedded", "up", "--home", str(home)]
    if (status := subprocess.run(command, cwd=ROOT).returncode) != 0:
        sys.exit(status)


def main() -> None:
    parser = argparse.ArgumentParser(prog="just library", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help="members of the library; all without")
    parser.add_argument("--full", action="store_true", help="of all members also those that take long")
    parser.add_argument("--home", type=Path, help="the state folder of the stack", default=DEFAULT_HOME)
    parser.add_argument("--epochs", type=int, help="train so long instead of as the member says")
    parser.add_argument("--out", type=Path, help="the folder for library-measured.json and .md (default: in --home)")
    parser.add_argument("--load-seconds", type=float, help="of each of the two loads on a member", default=3.0)
    chosen = parser.parse_args()
    ensure_up(chosen.home)
    config = {} if chosen.epochs is None else {"epochs": chosen.epochs}
    console, began = Console(), time.monotonic()
    out = chosen.out or Path(chosen.home) / "library"
    try:
        rows = run_all(Stack(chosen.home).info, chosen.names, config, console, chosen.load_seconds, chosen.full)
    except (MemberFailed, ApiError) as error:
        sys.exit(f"library: {error}")
    tell(rows, about(time.monotonic() - began), out, console)
    sys.exit(any(row.problem for row in rows))


if __name__ == "__main__":
    main()
