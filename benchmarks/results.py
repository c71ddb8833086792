"""Results as plain data: what was measured, where and of what; medians and ratios follow from it."""

import json
import statistics
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Self

from deploy.embedded.launch import write_private

FORMAT = 1


@dataclass(frozen=True)
class Run:
    """One load of one target: counts, latency, microseconds of processor time a request by process.

    `logged` and `dropped` count rows of the prediction log that went by meanwhile.
    """

    target: str
    connections: int
    round: int
    requests: int
    failed: int
    seconds: float
    p50_ms: float
    p99_ms: float
    processor_us: dict[str, float] = field(default_factory=dict)
    logged: int = 0
    dropped: int = 0

    @property
    def rate(self) -> float:
        """Good answers a second."""
        return self.requests / self.seconds


@dataclass(frozen=True)
class Row:
    """The run with the median rate, and the failed requests and dropped rows of all runs."""

    median: Run
    failed: int
    logged: int
    dropped: int

    @property
    def dropped_share(self) -> float | None:
        return self.dropped / self.logged if self.logged else None


@dataclass
class CaseResult:
    """All runs of a case; `limit` names the target that others are compared with, `left_out` says why by target."""

    name: str
    title: str
    limit: str
    peers: dict[str, str] = field(default_factory=dict)
    left_out: dict[str, str] = field(default_factory=dict)
    runs: list[Run] = field(default_factory=list)

    def rows(self) -> dict[int, dict[str, Row]]:
        """By number of connections, then by target in the order of their first runs."""
        found: dict[int, dict[str, list[Run]]] = {}
        for run in self.runs:
            found.setdefault(run.connections, {}).setdefault(run.target, []).append(run)
        return {count: {name: row_of(runs) for name, runs in found[count].items()} for count in sorted(found)}

    def best_peer(self, connections: int) -> str | None:
        """The peer with the highest median rate; None where none was measured."""
        rows = self.rows().get(connections, {})
        measured = [name for name in self.peers if name in rows]
        return max(measured, key=lambda name: rows[name].median.rate, default=None)


def row_of(runs: Sequence[Run]) -> Row:
    """One row of a table; of an even number of runs the slower of the two in the middle is the median."""
    rate = statistics.median_low(run.rate for run in runs)
    return Row(
        median=next(run for run in runs if run.rate == rate),
        failed=sum(run.failed for run in runs),
        logged=sum(run.logged for run in runs),
        dropped=sum(run.dropped for run in runs),
    )


def ratio(of: Row, to: Row) -> float | None:
    """How many times the rate of another; None where that one answered nothing."""
    return of.median.rate / to.median.rate if to.median.rate else None


@dataclass
class Results:
    """One run of the benchmark; `left_out` says why by case."""

    at: str
    commit: dict[str, Any]
    machine: dict[str, Any]
    versions: dict[str, str]
    settings: dict[str, Any]
    cases: list[CaseResult] = field(default_factory=list)
    left_out: dict[str, str] = field(default_factory=dict)
    prediction_log: dict[str, Any] = field(default_factory=dict)
    format: int = FORMAT

    def write(self, path: Path) -> None:
        write_private(path, json.dumps(asdict(self), indent=1, ensure_ascii=False) + "\n")

    @classmethod
    def read(cls, path: Path) -> Self:
        """What was written; raises ValueError where it is of another format."""
        document = json.loads(path.read_text())
        if not isinstance(document, dict) or document.get("format") != FORMAT:
            raise ValueError(f"{path} holds no results of format {FORMAT}")
        cases = [CaseResult(**case | {"runs": [Run(**run) for run in case["runs"]]}) for case in document["cases"]]
        return cls(**document | {"cases": cases})


def newest(folder: Path) -> Path | None:
    """The results that were written last: their names are their times."""
    return max(folder.glob("*.json"), default=None)
