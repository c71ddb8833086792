"""What came of a mixed load, as a table."""

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from rich.table import Table

from benchmarks.verdicts import Asked, Kill, Verdicts
from shared.events.deployment import DeploymentStaged, DeploymentUnstaged, TrafficSwitched

SHOWN = 5


@dataclass(frozen=True)
class Outcome:
    """All that was asked, what is to be said of it, what happened meanwhile, and megabytes before and after."""

    asked: Sequence[Asked]
    verdicts: Verdicts
    kills: Sequence[Kill]
    refused: Sequence[str]
    events: Mapping[str, int]
    before: Mapping[str, int]
    after: Mapping[str, int]

    @property
    def is_clean(self) -> bool:
        return self.verdicts.is_clean and not self.refused


def table(outcome: Outcome) -> Table:
    verdicts = outcome.verdicts
    shown = Table("what", "figure", title="mixed load, two inference processes")
    for name, figure in (*_counts(outcome), *_healing(outcome), *_times(outcome)):
        shown.add_row(name, figure)
    for reason, one in verdicts.wrong[:SHOWN]:
        shown.add_row("wrong", f"{one.model} version {one.version} {reason}")
    for one in verdicts.outside[:SHOWN]:
        shown.add_row("failed", f"{one.model} {one.status} after {one.ended - one.started:.3f} s: {one.said}")
    for said in outcome.refused[:SHOWN]:
        shown.add_row("change refused", said)
    return shown


def _counts(outcome: Outcome) -> list[tuple[str, str]]:
    verdicts, events = outcome.verdicts, outcome.events
    inside = Counter(one.status for one in verdicts.inside)
    return [
        ("requests", f"{len(outcome.asked):,}"),
        ("wrong answers", str(len(verdicts.wrong))),
        ("failures outside healing", str(len(verdicts.outside))),
        ("failures inside healing, by status", json.dumps(inside)),
        ("switches of traffic", str(events.get(TrafficSwitched.fact(), 0))),
        ("versions loaded / unloaded by both", _loads(events)),
        ("changes refused", str(len(outcome.refused))),
    ]


def _loads(events: Mapping[str, int]) -> str:
    return f"{events.get(DeploymentStaged.fact(), 0)} / {events.get(DeploymentUnstaged.fact(), 0)}"


def _healing(outcome: Outcome) -> list[tuple[str, str]]:
    pairs = zip(outcome.kills, outcome.verdicts.healing, strict=True)
    return [(f"healing of {kill.model} on node {kill.node}, s", f"{seconds:.2f}") for kill, seconds in pairs]


def _times(outcome: Outcome) -> list[tuple[str, str]]:
    seconds = sorted(one.ended - one.started for one in outcome.asked if one.status == 200) or [0.0]
    at = [seconds[min(len(seconds) - 1, int(q * len(seconds)))] for q in (0.5, 0.99, 1)]
    return [
        ("answered within, p50 / p99 / most, ms", " / ".join(f"{1e3 * each:.1f}" for each in at)),
        ("memory before, MB", json.dumps(outcome.before)),
        ("memory after, MB", json.dumps(outcome.after)),
    ]
