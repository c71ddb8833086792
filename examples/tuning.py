"""Tunes members, and compares the best training with the default one on the test part, both as served.

Each is trained with several seeds, so that what is chance shows.
"""

import argparse
import statistics
import time

from aimass import Client
from rich.console import Console
from rich.table import Table

from deploy.embedded.parts import DEFAULT_HOME
from deploy.embedded.stack import Stack
from examples.champion import client_of, version_of

MEMBERS = {"breast-cancer-mlp": "accuracy", "diabetes-mlp": "rmse", "thyroid": "roc_auc"}
SEEDS = (1, 2, 3)
STUDY_SECONDS = 1800.0
EVALUATED_SECONDS = 300.0


def finished(client: Client, task_id: str) -> None:
    for _ in client.watch(task_id, timeout=STUDY_SECONDS):
        continue
    task = client.task(task_id)
    if task["state"] != "succeeded":
        raise RuntimeError(f"{task_id} {task['state']}: {task['error_message']}")


def evaluated(client: Client, model: str, task_id: str, metric: str) -> float:
    """The metric of the version of a training, on the test part."""
    deadline = time.monotonic() + EVALUATED_SECONDS
    while time.monotonic() < deadline:
        version = version_of(client, task_id, model)
        for evaluation in client.evaluations(model) if version else []:
            if evaluation["version"] == version and evaluation["metrics"]:
                return float(evaluation["metrics"][metric])
        time.sleep(0.5)
    raise TimeoutError(f"no evaluation of {task_id} within {EVALUATED_SECONDS:g} s")


def of_seeds(client: Client, model: str, config: dict[str, object], metric: str) -> list[float]:
    tasks = [client.train(model, config | {"seed": seed}, auto_promote=False)["id"] for seed in SEEDS]
    for task in tasks:
        finished(client, task)
    return [evaluated(client, model, task, metric) for task in tasks]


def row(client: Client, model: str, metric: str, trials: int) -> tuple[str, ...]:
    began = time.monotonic()
    task = client.tune(model, budget={"trials": trials}, parallel=2, auto_promote=False)["id"]
    finished(client, task)
    seconds = time.monotonic() - began
    study = client.study(task)
    best = next(trial for trial in study["trials"] if trial["number"] == study["winner"])
    default, tuned = (of_seeds(client, model, config, metric) for config in ({}, best["parameters"]))
    value = f"{best['values'][0]:.4f} ({study['objectives'][0]['metric']})"
    return (model, f"{seconds:.0f}", value, metric, shown(default), shown(tuned))


def shown(values: list[float]) -> str:
    return f"{statistics.mean(values):.4f} ({', '.join(f'{value:.4f}' for value in values)})"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("members", nargs="*", default=list(MEMBERS), help=", ".join(MEMBERS))
    parser.add_argument("--trials", type=int, default=20)
    parser.add_argument("--home", help="the state folder of the stack", default=DEFAULT_HOME)
    chosen = parser.parse_args()
    stack = Stack(chosen.home)
    stack.up()
    columns = ("member", "study, s", "best, validation", "on the test part", "default", "tuned")
    table = Table(*columns, title=f"{chosen.trials} trials, TPE, two at once; each then with seeds {SEEDS}")
    with client_of(stack.info) as client:
        for member in chosen.members:
            table.add_row(*row(client, member, MEMBERS[member], chosen.trials))
            Console(stderr=True).print(f"{member}: done")
    Console().print(table)


if __name__ == "__main__":
    main()
