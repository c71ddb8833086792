"""Tunes members of the library on the running stack, and compares what came out with their defaults on the test part.

A study picks its best trial by the validation part alone. Then the defaults and the best parameters are trained with
the same new seeds, and the evaluator measures each version as served on the test part, which no training has seen.
"""

import argparse
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from statistics import mean, stdev
from typing import Any

from aimass import Client
from aimass.tuning import Study
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from deploy.embedded.parts import DEFAULT_HOME
from deploy.embedded.stack import Stack
from examples.champion import client_of, version_of

SEEDS = range(101, 106)
SECONDS = 1800.0
LOOK_SECONDS = 0.5


@dataclass(frozen=True)
class Case:
    """A member, what is fixed, what is minimized on the validation part, and what is measured on the test part."""

    model: str
    config: Mapping[str, Any]
    objective: str
    measured: str


CASES = (
    Case("breast-cancer-mlp", {}, "loss", "log_loss"),
    Case("diabetes-mlp", {}, "rmse", "rmse"),
    Case("digits-cnn", {}, "loss", "log_loss"),
    Case("language-id", {}, "loss", "log_loss"),
    Case("driving-policy", {}, "loss", "log_loss"),
    Case("credit-score", {}, "loss", "log_loss"),
    Case("coupon-redemption", {}, "loss", "log_loss"),
    Case("spam-filter", {}, "loss", "log_loss"),
    Case("fraud", {}, "loss", "log_loss"),
    Case("volatility", {}, "loss", "qlike"),
)


class TuningFailed(Exception):
    """A task did not end as it should."""


def tuned(client: Client, case: Case, trials: int, console: Console) -> tuple[Study, float]:
    """The study and how many seconds it took."""
    began = time.monotonic()
    objectives = [{"metric": case.objective, "direction": "minimize"}]
    accepted = client.tune(
        case.model,
        case.config,
        objectives=objectives,
        pruner="median",
        budget={"trials": trials},
        parallel=2,
        auto_promote=False,
    )
    columns = (TextColumn(case.model), BarColumn(), TextColumn("{task.description}"), TimeElapsedColumn())
    with Progress(*columns, console=console) as bars:
        bar = bars.add_task("waiting", total=1.0)
        for seen in client.watch(accepted["id"], timeout=SECONDS):
            bars.update(bar, completed=seen["progress"], description=seen["note"] or seen["state"])
    if seen["state"] != "succeeded":
        raise TuningFailed(f"study {seen['state']}: {seen['error_class']} {seen['error_message']}")
    return client.study(accepted["id"]), time.monotonic() - began


def measured(client: Client, case: Case, config: Mapping[str, Any], seeds: Iterable[int]) -> list[float]:
    """The metric on the test part, of a training for each seed."""
    given = {**case.config, **config}
    tasks = [client.train(case.model, {**given, "seed": seed}, auto_promote=False)["id"] for seed in seeds]
    return [_evaluated(client, case, task) for task in tasks]


def show(console: Console, case: Case, study: Study, seconds: float, defaults: list[float], best: list[float]) -> None:
    """A table of one member, and whether all that was gained could be chance."""
    trials = {trial["number"]: trial for trial in study["trials"]}
    states = [trial["state"] for trial in trials.values()]
    table = Table(title=f"{case.model}: {len(trials)} trials in {seconds:.0f} s, {states.count('pruned')} pruned")
    for heading in ("", f"{case.objective}, validation", f"{case.measured}, test: mean", "deviation", "each seed"):
        table.add_column(heading)
    winner = trials[study["best"][0]]
    for name, trial, values in (("defaults", trials[0], defaults), ("tuned", winner, best)):
        figures = (f"{mean(values):.4f}", f"{stdev(values):.4f}", " ".join(f"{value:.4f}" for value in values))
        table.add_row(name, f"{trial['values'][0]:.4f}", *figures)
    console.print(table)
    won = sum(ours < theirs for ours, theirs in zip(best, defaults, strict=True))
    console.print(f"better with {won} of {len(best)} seeds, by {1 - mean(best) / mean(defaults):.1%} in the mean")
    console.print(f"parameters of trial {winner['number']}: {winner['parameters']}")
    console.print(f"importances ({study['importance_method']}): {study['importances']}")


def run(stack: Stack, names: list[str], trials: int, console: Console) -> None:
    with client_of(stack.info) as client:
        for case in CASES:
            if names and case.model not in names:
                continue
            study, seconds = tuned(client, case, trials, console)
            best = study["trials"][study["best"][0]]["parameters"]
            show(console, case, study, seconds, measured(client, case, {}, SEEDS), measured(client, case, best, SEEDS))


def _evaluated(client: Client, case: Case, task_id: str) -> float:
    *_, seen = client.watch(task_id, timeout=SECONDS)
    if seen["state"] != "succeeded":
        raise TuningFailed(f"training {seen['state']}: {seen['error_class']} {seen['error_message']}")
    deadline = time.monotonic() + SECONDS
    while time.monotonic() < deadline:
        version = version_of(client, task_id, case.model)
        for evaluation in client.evaluations(case.model, version) if version is not None else []:
            if evaluation["metrics"]:
                return evaluation["metrics"][case.measured]
        time.sleep(LOOK_SECONDS)
    raise TimeoutError(f"the version of {task_id} was not evaluated")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "names", nargs="*", metavar="NAME", help=f"members, all without: {', '.join(case.model for case in CASES)}"
    )
    parser.add_argument("--home", type=Path, help="the state folder of the stack", default=DEFAULT_HOME)
    parser.add_argument("--trials", type=int, help="the budget of each study", default=24)
    chosen = parser.parse_args()
    stack = Stack(chosen.home)
    stack.up()
    run(stack, chosen.names, chosen.trials, Console(width=150))
