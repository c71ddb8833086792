"""The demo: train digits-cnn on the running stack, follow it, see it evaluated and promoted, and ask it digits."""

import argparse
import time
from datetime import datetime
from typing import Any

import numpy as np
import tritonclient.http as triton
from aimass import Client
from numpy.typing import NDArray
from rich.columns import Columns
from rich.console import Console
from rich.panel import Panel
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

import library
from deploy.embedded.parts import DEFAULT_HOME
from deploy.embedded.stack import Stack
from examples.champion import client_of, wait_served
from examples.pictures import picture
from library.base import Part

MODEL = "digits-cnn"
SHOWN = 8
SECONDS = 300.0
Images = NDArray[np.float32]


class DemoFailed(Exception):
    """The main job did not end as it should."""


def held_out() -> tuple[Images, NDArray[Any]]:
    """Digits that neither training nor choice has seen."""
    part = library.data_set("digits").parts()[Part.TEST]
    return part["image"], part["digit"]


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
        if epoch > told and "validation_accuracy" in values:
            losses = f"train loss {values['train_loss']:.3f}, validation loss {values['validation_loss']:.3f}"
            console.print(f"  epoch {epoch:>2}  {losses}, validation accuracy {values['validation_accuracy']:.3f}")
            told = epoch
    return told


def show_evaluation(client: Client, version: int, console: Console) -> float:
    """The gate's verdict on the version as served; returns its accuracy."""
    evaluation = next(e for e in client.evaluations(MODEL) if e["version"] == version)
    metrics, verdict = evaluation["metrics"], "passed" if evaluation["passed"] else "failed"
    beside = evaluation["champion_version"]
    against = f", beside the champion, version {beside}" if beside else ", with no champion before it"
    console.print(f"evaluated as served{against}: gate [bold]{verdict}[/]")
    console.print("  " + ", ".join(f"{name} {value:.4g}" for name, value in metrics.items()))
    return float(metrics["accuracy"])


def ask(info: dict[str, Any], client: Client, images: Images) -> NDArray[Any]:
    """The class probabilities of images, by a stock tritonclient with an Authorization header."""
    tensor = triton.InferInput("image", list(images.shape), "FP32")
    tensor.set_data_from_numpy(images)
    caller = triton.InferenceServerClient(info["gateway"].removeprefix("http://"))
    answer = caller.infer(MODEL, [tensor], headers={"Authorization": client.authorization})
    found: NDArray[Any] = answer.as_numpy("probabilities")
    return found


def show_digits(images: Images, probabilities: NDArray[Any], truth: NDArray[Any], console: Console) -> None:
    panels = []
    for image, row, digit in zip(images, probabilities, truth, strict=True):
        guess = int(row.argmax())
        mark = "[green]right[/]" if guess == digit else f"[red]it is {digit}[/]"
        panels.append(
            Panel(
                picture(image[0].tolist(), coloured=console.is_terminal),
                title=f"{guess} ({row[guess]:.0%})",
                subtitle=mark,
                width=20,
            )
        )
    console.print(Columns(panels))


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


def run(stack: Stack, console: Console) -> None:
    info, began = stack.info, time.monotonic()
    images, truth = held_out()
    with client_of(info) as client:
        task = client.train(MODEL)
        console.rule(f"training {MODEL}")
        follow(client, task["id"], console)
        version = wait_served(client, task["id"], MODEL)
        console.rule(f"version {version}")
        accuracy = show_evaluation(client, version, console)
        console.print(f"promoted to champion, traffic switched to version {version}")
        console.rule("held-out digits, asked over HTTP with tritonclient")
        show_digits(images[:SHOWN], ask(info, client, images[:SHOWN]), truth[:SHOWN], console)
        console.rule("what happened")
        show_chain(client, task["correlation_id"], console)
    console.print(
        f"\nheld-out accuracy as served [bold]{accuracy:.4f}[/]; the demo took {time.monotonic() - began:.1f} s"
    )
    show_where_next(info, console)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--home", help="the state folder of the stack", default=DEFAULT_HOME)
    chosen = parser.parse_args()
    run(Stack(chosen.home), Console())


if __name__ == "__main__":
    main()
