"""Requests a second and latency, side by side in one run: Triton directly, through the gateway, and other servers.

Triton and the gateway get the same body; the gateway checks a key, counts and logs every prediction meanwhile. Figures
of one machine move by a factor of two with its mood: the ratios are what counts.
"""

import argparse
import fcntl
import signal
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

from rich.console import Console

from benchmarks import log_rows, report, surroundings
from benchmarks.cases import CASES, QUICK, Case, place_of
from benchmarks.events import comparison as events
from benchmarks.load import find_wrk
from benchmarks.measure import Plan, Watch, compare
from benchmarks.peers import PEERS, Peer, chosen
from benchmarks.plot import BENCH, RESULTS, plot
from benchmarks.results import Results
from benchmarks.started import Grounds
from benchmarks.training import comparison as training
from deploy.embedded.parts import DEFAULT_HOME
from deploy.embedded.stack import Stack
from shared.environments import Unavailable

LEAST_WIDTH = 120
ELSEWHERE = {"--training": training.main, "--events": events.main}
LONGEST_SECONDS = 60
MOST_ROUNDS = 20
MOST_CONNECTIONS = 256


@dataclass(frozen=True)
class Choice:
    """What of it all is measured, and how long; of each case the numbers of connections that are named, or all."""

    cases: Sequence[str]
    peers: Sequence[Peer]
    seconds: int
    rounds: int
    connections: frozenset[int] = frozenset()

    def narrowed(self, case: Case) -> Case:
        kept = tuple(count for count in case.connections if not self.connections or count in self.connections)
        return replace(case, connections=kept)


def measure(stack: Stack, choice: Choice, console: Console) -> Path:
    """Measure, print, and write the results after each case, so that what is measured is not lost."""
    bench = stack.home.path / BENCH
    watch = Watch(stack.info, f"{stack.plan.url('ops-inference')}/metrics")
    plan = Plan(choice.seconds, choice.rounds, choice.peers, Grounds(bench), watch, console.print)
    results, begun = _empty(stack, choice), datetime.now(UTC)
    path = bench / RESULTS / f"{begun:%Y%m%dT%H%M%SZ}.json"
    before = log_rows.read(watch.metrics_url)
    with place_of(stack.info, bench) as place:
        for name in choice.cases:
            try:
                results.cases.append(compare(choice.narrowed(CASES[name](place)), plan))
            except Unavailable as error:
                results.left_out[name] = str(error)
                console.print(f"{name} is left out: {error}")
            results.write(path)
    now = log_rows.read(watch.metrics_url)
    answered, dropped = now.answered - before.answered, now.dropped - before.dropped
    kept = log_rows.kept(stack.info["postgres"], begun, answered)
    results.prediction_log = {"answered": answered, "dropped": dropped, "kept": kept}
    results.write(path)
    return path


def _empty(stack: Stack, choice: Choice) -> Results:
    settings = {"seconds": choice.seconds, "rounds": choice.rounds, "cases": list(choice.cases)}
    peers = {peer.title: peer.version for peer in choice.peers}
    return Results(
        at=surroundings.now(),
        commit=surroundings.commit(),
        machine=surroundings.machine(),
        versions=surroundings.versions(stack.info["triton"]["http"]) | peers,
        settings=settings,
    )


@contextmanager
def alone(bench: Path) -> Iterator[None]:
    """Two at once would measure each other: the second one ends with a clear line."""
    bench.mkdir(parents=True, exist_ok=True)
    with (bench / "lock").open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            sys.exit(f"bench: another one runs in {bench}: wait until it has ended")
        yield


def show(path: Path, console: Console) -> None:
    """The tables, the line on the prediction log, and where results and plot lie."""
    results = Results.read(path)
    console.print(*report.tables(results))
    console.print(report.prediction_log(results))
    console.print(f"results: {path}", soft_wrap=True)
    try:
        console.print(f"plot: {plot(path, path.parents[1])}", soft_wrap=True)
    except Unavailable as error:
        console.print(f"no plot: {error}", soft_wrap=True)


def _cases(names: str) -> tuple[str, ...]:
    wanted = [name.strip() for name in names.split(",") if name.strip()]
    unknown = sorted(set(wanted) - CASES.keys() - {"all"})
    if unknown or not wanted:
        raise argparse.ArgumentTypeError(f"there are the cases {', '.join(CASES)}, or all of them by 'all'")
    return tuple(name for name in CASES if name in wanted or "all" in wanted)


def _peers(names: str) -> tuple[Peer, ...]:
    try:
        return chosen(names)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from error


def _connections(counts: str) -> frozenset[int]:
    return frozenset(map(_up_to(MOST_CONNECTIONS), counts.split(",")))


def _up_to(most: int) -> Callable[[str], int]:
    """The load is bounded."""

    def parse(text: str) -> int:
        if not (text.isascii() and text.isdigit() and 1 <= int(text) <= most):
            raise argparse.ArgumentTypeError(f"a whole number from 1 to {most} is needed, not {text!r}")
        return int(text)

    return parse


def parser() -> argparse.ArgumentParser:
    more = "--training or --events, as the first argument, measures the training loop or the event plane instead"
    made = argparse.ArgumentParser(description=__doc__, epilog=more)
    names = ", ".join(peer.name for peer in PEERS)
    made.add_argument(
        "--peers", type=_peers, nargs="?", const=PEERS, default=(), help=f"other servers too: all, or some of {names}"
    )
    made.add_argument("--cases", type=_cases, default=QUICK, help=f"all, or some of {', '.join(CASES)}")
    made.add_argument("--connections", type=_connections, default=frozenset(), help="only these, such as 1,64")
    made.add_argument("--seconds", type=_up_to(LONGEST_SECONDS), default=4, help="of each run")
    made.add_argument("--rounds", type=_up_to(MOST_ROUNDS), default=3, help="runs of each")
    made.add_argument("--home", help="the state folder of the stack", default=DEFAULT_HOME)
    return made


def main() -> None:
    if (named := "".join(sys.argv[1:2])) in ELSEWHERE:
        ELSEWHERE[named](sys.argv[2:])
        return
    arguments = parser().parse_args()
    find_wrk()
    stack = Stack(arguments.home)
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # a peer is stopped then too
    with alone(stack.home.path / BENCH):
        stack.up()
        choice = Choice(arguments.cases, arguments.peers, arguments.seconds, arguments.rounds, arguments.connections)
        console = Console(width=max(LEAST_WIDTH, Console().width), markup=False, highlight=False)
        show(measure(stack, choice, console), console)


if __name__ == "__main__":
    main()
