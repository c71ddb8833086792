"""The parent's side of a task's process, as small as it can be: starts a module, writes its spec, reads its reports."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel

from shared.worker import REPORT_FD, REPORTS, Checkpoint, Failure, Metrics, Report, Result

ROOT = Path(__file__).parents[2]
R = TypeVar("R", bound=BaseModel)


class TaskProcess:
    """A running process of a task; iterating it gives its reports until it ends."""

    def __init__(self, module: str, spec: dict[str, Any], folder: Path) -> None:
        reader, writer = os.pipe()
        environment = {"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT), REPORT_FD: str(writer)}
        self.process = subprocess.Popen(
            [sys.executable, "-m", module],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            pass_fds=[writer],
            env=environment,
            cwd=folder,
        )
        os.close(writer)
        self._reports = os.fdopen(reader, "rb")
        assert self.process.stdin is not None
        self.process.stdin.write(json.dumps(spec).encode())
        self.process.stdin.close()

    def __iter__(self) -> Iterator[Report]:
        for line in self._reports:
            yield REPORTS.validate_json(line)

    def await_first(self, kind: type[R]) -> R:
        return next(report for report in self if isinstance(report, kind))

    def close(self) -> int:
        """Wait for its end; its exit code."""
        self._reports.close()
        assert self.process.stdout is not None
        self.process.stdout.read()
        self.process.stdout.close()
        return self.process.wait()


class Ended:
    """All that a process reported until its end."""

    def __init__(self, reports: list[Report], code: int) -> None:
        self.reports = reports
        self.code = code

    def of(self, kind: type[R]) -> list[R]:
        return [report for report in self.reports if isinstance(report, kind)]

    @property
    def result(self) -> Result:
        assert self.code == 0, self.of(Failure)
        return self.of(Result)[0]

    @property
    def failure(self) -> Failure:
        assert self.code == 1
        return self.of(Failure)[0]

    @property
    def order(self) -> list[str]:
        """Metrics, checkpoints and the end, in the order in which they came."""
        kept = [report for report in self.reports if isinstance(report, Metrics | Checkpoint | Result)]
        return [f"{report.type} {getattr(report, 'epoch', '')}".strip() for report in kept]


def run(module: str, spec: dict[str, Any], folder: Path) -> Ended:
    """Run a task's process to its end."""
    process = TaskProcess(module, spec, folder)
    reports = list(process)
    return Ended(reports, process.close())
