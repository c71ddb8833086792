"""The demo: train a model on the running stack, follow it, see it evaluated and promoted, and ask it."""

import argparse
import time
from datetime import datetime
from typing import Any

import tritonclient.http as triton
from aimass import Client
from numpy.typing import NDArray
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table
from tritonclient.utils import np_to_triton_dtype

from deploy.embedded.parts import DEFAULT_HOME
from deploy.embedded.stack import Stack
from examples.answers import Arrays, held_out, show_answers
from examples.champion import client_of, wait_served

MODEL = "digits-cnn"
SHOWN = 8
SECONDS = 300.0


class DemoFailed(Exception):
    """The main job did not end as it should."""


def follow(client: Client, task_id: str, console: Console) -> None:
    """Show a training task as it goes: percentage, epoch, metrics, time left."""
    columns = (TextColumn("{task.description}"), BarColumn(), TextColumn("{task.percentage:>3.0f}%"))
    with Progress(*columns, TextColumn("{task.fields[left]}"), TimeElapsedColumn(), console=console) as bars:
        bar = bars.add_task("waiting", total=1.0, left="")
        told = 0
        for seen in client.watch(task_id, every=0.3, timeout=SECONDS):
            left = "" if seen["seconds_left"] is None else f"{seen['seconds_left']:.0f} s left"
            bars.update(bar, completed=seen["progress"], description=seen["note"] or seen["state"], left=left)
            told = tell_epochs(client, task_id, told, console)
    if seen["state"] != "succeeded":
        raise DemoFailed(f"training {seen['state']}: {seen['error_class']} {seen['error_message']}")


def tell_epochs(client: Client, task_id: str, told: int, console: Console) -> int:
    """Print the epochs that ended since; returns the last one."""
    epochs: dict[int, dict[str, float]] = {}
    for point in client.metrics(task_id):
        epochs.setdefault(point["epoch"], {})[point["name"]] = point["value"]
    for epoch, values in sorted(epochs.items()):
        if epoch > told and "validation_loss" in values:
            shown = {name: value for name, value in sorted(values.items()) if name.startswith(("train", "validation"))}
            figures = ", ".join(f"{name.replace('_', ' ')} {value:.4g}" for name, value in shown.items())
            console.print(f"  epoch {epoch:>2}  {figures}")
            told = epoch
    return told


def show_evaluation(client: Client, model: str, version: int, console: Console) -> str:
    """The gate's verdict on the version as served; returns its first figure."""
    evaluation = next(e for e in client.evaluations(model) if e["version"] == version)
    verdict = "passed" if evaluation["passed"] else "failed"
    beside = evaluation["champion_version"]
    against = f", beside the champion, version {beside}" if beside else ", with no champion before it"
    console.print(f"evaluated as served{against}: gate [bold]{verdict}[/]")
    console.print("  " + ", ".join(f"{name} {value:.4g}" for name, value in evaluation["metrics"].items()))
    first = client.version(model, version)["gate"][0]["metric"]
    return f"{first} as served [bold]{evaluation['metrics'][first]:.4f}[/]"


def ask(info: dict[str, Any], client: Client, model: str, inputs: Arrays) -> NDArray[Any]:
    """The first output of a model, by a stock tritonclient with an Authorization header."""
    caller = triton.InferenceServerClient(info["gateway"].removeprefix("http://"))
    tensors = []
    for name, array in inputs.items():
        tensors.append(triton.InferInput(name, list(array.shape), np_to_triton_dtype(array.dtype)))
        tensors[-1].set_data_from_numpy(array)
    answer = caller.infer(model, tensors, headers={"Authorization": client.authorization})
    found: NDArray[Any] = answer.as_numpy(answer.get_response()["outputs"][0]["name"])
    return found


def show_chain(client: Client, correlation_id: str, console: Console) -> None:
    """The events of the whole job by their one correlation id, with seconds since the first."""
    events = [event for event in client.timeline(correlation_id) if not event["type"].endswith("TaskChanged")]
    first = seconds(events[0]["at"])
    table = Table(title=f"one chain: {correlation_id}", title_justify="left")
    for column in ("after s", "service", "event", "of"):
        table.add_column(column, justify="right" if column == "after s" else "left")
    for event in events:
        name = event["type"].rpartition(".")[2]
        table.add_row(f"{seconds(event['at']) - first:.2f}", event["source"], name, event["subject"])
    console.print(table)


def seconds(moment: str) -> float:
    return datetime.fromisoformat(moment).timestamp()


def show_where_next(info: dict[str, Any], console: Console) -> None:
    console.print(f"\nThe stack goes on running. API and its documentation: {info['gateway']}/docs")
    console.print(f"Admin's API key: {info['admin_key_file']}    Everything else: ./justw status, ./justw logs NAME")
    console.print("Stop it with ./justw down; the state stays in .aimass")


def run(stack: Stack, model: str, console: Console) -> None:
    info, began = stack.info, time.monotonic()
    inputs, truth = held_out(model, SHOWN)
    with client_of(info) as client:
        task = client.train(model)
        console.rule(f"training {model}")
        follow(client, task["id"], console)
        version = wait_served(client, task["id"], model)
        console.rule(f"version {version}")
        figure = show_evaluation(client, model, version, console)
        console.print(f"promoted to champion, traffic switched to version {version}")
        console.rule("held-out items, asked over HTTP with tritonclient")
        show_answers(model, inputs, ask(info, client, model, inputs), truth, console)
        console.rule("what happened")
        show_chain(client, task["correlation_id"], console)
    console.print(f"\nheld-out {figure}; the demo took {time.monotonic() - began:.1f} s")
    show_where_next(info, console)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--home", help="the state folder of the stack", default=DEFAULT_HOME)
    parser.add_argument("--model", help="the member of the library to train", default=MODEL)
    chosen = parser.parse_args()
    run(Stack(chosen.home), chosen.model, Console())


if __name__ == "__main__":
    main()
