"""What the training loop costs beside the bare one: processor time of pairs of runs, in turn, with the same weights.

MLflow and Ray Train run the same bare loop with their own metrics and checkpoints after each epoch. Nobody is always
the first of a round, and each is compared with the bare loop of its own round.
"""

import argparse
import json
import signal
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from statistics import median, quantiles
from typing import Any

from rich.console import Console
from rich.table import Table

import library
from benchmarks import surroundings
from benchmarks.training.bare import PARTS, Given
from benchmarks.training.loops import BARE, LOOPS, Loop
from benchmarks.training.running import Run, become_reaper, run
from deploy.embedded.home import Home
from deploy.embedded.launch import write_private
from deploy.embedded.parts import DEFAULT_HOME
from library.files import pack, write_atomically
from shared.environments import Unavailable

EPOCHS = {"digits-cnn": 20, "fraud": 3}
BENCH = "bench"
RESULTS = "training"


@dataclass
class Compared:
    """The runs of each loop on one member, round by round."""

    member: str
    epochs: int
    runs: dict[str, list[Run]] = field(default_factory=dict)
    left_out: dict[str, str] = field(default_factory=dict)

    def ratios(self, label: str, of: str) -> list[float]:
        """To the bare loop of the same round, of `loop` or of `whole`."""
        pairs = zip(self.runs[label], self.runs[BARE], strict=True)
        return [getattr(one, of) / getattr(bare, of) for one, bare in pairs]

    def are_same(self, label: str) -> bool:
        return {one.weights for one in self.runs[label]} == {bare.weights for bare in self.runs[BARE]}


def compare(member: str, epochs: int, loops: Sequence[Loop], rounds: int, bench: Path, say: Console) -> Compared:
    """Raises Unavailable where the bare loop itself does not run."""
    given = Given(member, epochs, str(_prepared(member, bench)))
    found, pythons = Compared(member, epochs), {}
    for loop in loops:
        try:
            pythons[loop] = loop.python(bench)
            run(loop, pythons[loop], Given(member, 1, given.folder))  # compiles, and fills caches
            found.runs[loop.label] = []
        except Unavailable as error:
            found.left_out[loop.label] = str(error)
            pythons.pop(loop, None)
    for turn in range(rounds):
        order = list(pythons)
        for loop in order[turn % len(order) :] + order[: turn % len(order)]:
            found.runs[loop.label].append(run(loop, pythons[loop], given))
        say.print(f"{member}: round {turn + 1} of {rounds}")
    return found


def _prepared(member: str, bench: Path) -> Path:
    """The parts of the member's data set, made once."""
    name = library.model(member).dataset
    folder = bench / RESULTS / "data" / name
    if not all((folder / f"{part}.npz").exists() for part in PARTS):
        folder.mkdir(parents=True, exist_ok=True)
        data = library.data_set(name)
        data.fetch(print)
        for part, items in data.parts().items():
            write_atomically(folder / f"{part}.npz", pack(items))
    return folder


def table(found: Compared) -> Table:
    columns = ("", "loop s", "× bare", "middle half", "all s", "× bare", "wall s", "same weights")
    shown = Table(*columns, title=f"{found.member}, {found.epochs} epochs: processor time of {_rounds(found)} rounds")
    for column in shown.columns[1:]:
        column.justify = "right"
    for label, runs in found.runs.items():
        loop, whole = found.ratios(label, "loop"), found.ratios(label, "whole")
        low, _, high = quantiles(loop) if len(loop) > 1 else (loop * 3)
        figures = [f"{median(one.loop for one in runs):.2f}", f"{median(loop):.3f}", f"{low:.3f} to {high:.3f}"]
        figures += [f"{median(one.whole for one in runs):.2f}", f"{median(whole):.3f}"]
        figures += [f"{median(one.wall for one in runs):.2f}", "yes" if found.are_same(label) else "no"]
        shown.add_row(label, *figures)
    for label, why in found.left_out.items():
        shown.add_row(label, f"left out: {why}")
    return shown


def _rounds(found: Compared) -> int:
    return len(found.runs[BARE])


def document(compared: Sequence[Compared]) -> dict[str, Any]:
    return {
        "at": surroundings.now(),
        "commit": surroundings.commit(),
        "machine": surroundings.machine(),
        "members": [asdict(one) for one in compared],
    }


def parser() -> argparse.ArgumentParser:
    made = argparse.ArgumentParser(prog="just bench --training", description=__doc__)
    made.add_argument("--rounds", type=int, default=10, choices=range(1, 101), metavar="1..100")
    made.add_argument("--members", nargs="+", choices=EPOCHS, default=list(EPOCHS))
    made.add_argument(
        "--epochs", type=int, choices=range(1, 1001), metavar="1..1000", help="instead of each member's own"
    )
    made.add_argument("--no-peers", action="store_true", help="only the bare loop and ours")
    made.add_argument("--home", help="the state folder of the stack, which need not run", default=DEFAULT_HOME)
    return made


def main(given: Sequence[str]) -> None:
    arguments = parser().parse_args(given)
    console = Console(width=120, markup=False, highlight=False)
    bench = Home(Path(arguments.home).resolve()).folder(BENCH)
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    become_reaper()
    loops = [loop for loop in LOOPS if not (arguments.no_peers and loop.peer)]
    compared = []
    path = bench / RESULTS / f"{datetime.now(UTC):%Y%m%dT%H%M%SZ}.json"
    for member in arguments.members:
        epochs = arguments.epochs or EPOCHS[member]
        compared.append(compare(member, epochs, loops, arguments.rounds, bench, console))
        write_private(path, json.dumps(document(compared), indent=1) + "\n")
    console.print(*map(table, compared))
    console.print(f"results: {path}", soft_wrap=True)


if __name__ == "__main__":
    main(sys.argv[1:])
