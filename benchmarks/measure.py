"""Runs in turn: round by round, so that the machine's mood meets all targets alike."""

import subprocess
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import httpx

from benchmarks import log_rows, processor
from benchmarks.cases import TRITON, Case
from benchmarks.load import Target, WrongAnswer
from benchmarks.peers import Peer
from benchmarks.results import CaseResult, Run
from benchmarks.started import Grounds, started
from shared.environments import Unavailable, reason

WARM_CONNECTIONS = 16
WARM_SECONDS = 2


@dataclass(frozen=True)
class Watch:
    """Where processor time and the prediction log are read."""

    info: dict[str, Any]
    metrics_url: str


@dataclass(frozen=True)
class Plan:
    """How long and how often, with which peers; `say` tells how far it is."""

    seconds: int
    rounds: int
    peers: Sequence[Peer]
    grounds: Grounds
    watch: Watch
    say: Callable[[str], None] = print


def compare(case: Case, plan: Plan) -> CaseResult:
    """Each round: Triton and the gateway at each number of connections, then each peer, alone while it runs."""
    peers = {peer.label: peer for peer in plan.peers} if case.question else {}
    result = CaseResult(case.name, case.title, TRITON, {label: peer.how for label, peer in peers.items()})
    for target in case.targets:
        target.check()
        case.load(target, WARM_CONNECTIONS, WARM_SECONDS)
    for number in range(1, plan.rounds + 1):
        plan.say(f"{case.name}: round {number} of {plan.rounds}")
        for connections in case.connections:
            for target in case.targets:
                result.runs.append(once(case, target, connections, number, plan, plan.watch.info["processes"]))
        for label, peer in peers.items():
            if label not in result.left_out:
                _visit(case, peer, number, plan, result)
    return result


def _visit(case: Case, peer: Peer, number: int, plan: Plan, result: CaseResult) -> None:
    """One round with a peer; it is left out, and the reason told, where it does not run or answers wrongly."""
    assert case.question is not None
    plan.say(f"{case.name}: {peer.label}")
    try:
        with started(peer, plan.grounds, case.question) as (target, pid):
            case.load(target, WARM_CONNECTIONS, WARM_SECONDS)
            runs = [once(case, target, count, number, plan, {peer.name: pid}) for count in case.connections]
            target.check()
    except (Unavailable, WrongAnswer, httpx.TransportError, subprocess.SubprocessError) as error:
        why = reason(error)
        plan.say(f"{peer.label} is left out: {why}")
        result.left_out[peer.label] = why
        result.runs = [run for run in result.runs if run.target != peer.label]
    else:
        result.runs += runs


def once(case: Case, target: Target, connections: int, number: int, plan: Plan, processes: Mapping[str, int]) -> Run:
    rows, used = log_rows.read(plan.watch.metrics_url), processor.seconds(processes)
    measured = case.load(target, connections, plan.seconds)
    used_after, rows_after = processor.seconds(processes), log_rows.read(plan.watch.metrics_url)
    return Run(
        target.name,
        connections,
        number,
        measured.requests,
        measured.failed,
        measured.seconds,
        measured.p50_ms,
        measured.p99_ms,
        processor.spent(used, used_after, max(1, measured.requests)),
        rows_after.answered - rows.answered,
        rows_after.dropped - rows.dropped,
    )
