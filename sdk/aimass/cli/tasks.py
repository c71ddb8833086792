"""tasks, logs, cancel, pause, resume, metrics, curves."""

from collections.abc import Iterable
from itertools import islice
from typing import Annotated, Any

import typer

from aimass import types
from aimass.cli import following, output
from aimass.cli.session import client_of

BLOCKS = "▁▂▃▄▅▆▇█"
WIDTH = 40
TaskId = Annotated[str, typer.Argument(metavar="TASK", help="The task's id, such as train-0190….")]
TaskIds = Annotated[list[str], typer.Argument(metavar="TASK", help="Ids of tasks.")]
Follow = Annotated[
    bool, typer.Option("--follow", "-f", help="Go on until the task has ended; Ctrl-C leaves it running.")
]
Priority = Annotated[int | None, typer.Option(min=-100, max=100, help="Of a project's tasks the higher goes first.")]
Tags = Annotated[list[str], typer.Option("--tag", metavar="TAG", help="A word to find the task by; may be repeated.")]
Remark = Annotated[str | None, typer.Option(metavar="TEXT", help="What people should know of the task.")]
Limit = Annotated[int, typer.Option(min=1, help="At most so many.")]
COLUMNS: output.Columns = {
    "TASK": lambda task: task["id"],
    "MODEL": lambda task: task["model"],
    "STATE": lambda task: _state(task),
    "CREATED": lambda task: output.moment(task["created_at"]),
    "EXPECTED": lambda task: _expected(task),
    "NOTE": lambda task: task["error_class"] or task["note"],
}


def tasks(
    context: typer.Context,
    task: Annotated[str, typer.Argument(metavar="TASK", help="Show this one alone.")] = "",
    kind: Annotated[str | None, typer.Option(help="Only of this kind, such as train.")] = None,
    state: Annotated[str | None, typer.Option(help="Only in this state, such as running.")] = None,
    model: Annotated[str | None, typer.Option(help="Only of this model.")] = None,
    tag: Annotated[str | None, typer.Option(help="Only with this tag.")] = None,
    limit: Limit = 100,
    as_of: output.AsOf = None,
    as_json: output.AsJson = False,
) -> None:
    """List tasks, newest first, or show one; now, or at a time."""
    with client_of(context) as client:
        if task:
            return output.facts(client.task(task, as_of=as_of), as_json)
        every = client.each_task(kind=kind, state=state, model=model, tag=tag, page=min(limit, 1000), as_of=as_of)
        found = list(islice(every, limit))
    return output.rows(found, COLUMNS, as_json)


def logs(
    context: typer.Context,
    task: TaskId,
    follow: Follow = False,
    after: Annotated[int, typer.Option(min=0, help="Begin after the line of this sequence.")] = 0,
    as_json: output.AsJson = False,
) -> None:
    """Print the log of a task."""
    with client_of(context) as client:
        if follow:
            return following.end(following.follow(client, task, as_json, after), as_json)
        _print(client.each_log_line(task, after=after), as_json)
    return None


def cancel(context: typer.Context, tasks: TaskIds, as_json: output.AsJson = False) -> None:
    """Stop tasks; one that runs ends within seconds."""
    with client_of(context) as client:
        _told([client.cancel(task) for task in tasks], as_json)


def pause(context: typer.Context, tasks: TaskIds, as_json: output.AsJson = False) -> None:
    """Let tasks wait until they are resumed; what they have learnt is kept."""
    with client_of(context) as client:
        _told([client.pause(task) for task in tasks], as_json)


def resume(context: typer.Context, tasks: TaskIds, as_json: output.AsJson = False) -> None:
    """Let paused tasks go on."""
    with client_of(context) as client:
        _told([client.resume(task) for task in tasks], as_json)


def note(
    context: typer.Context,
    task: TaskId,
    priority: Priority = None,
    tags: Tags = [],  # noqa: B006
    remark: Remark = None,
    as_json: output.AsJson = False,
) -> None:
    """Change how urgent a task is, its tags, or what people should know of it."""
    with client_of(context) as client:
        output.facts(client.note(task, priority=priority, tags=tags or None, remark=remark), as_json)


def metrics(context: typer.Context, task: TaskId, as_json: output.AsJson = False) -> None:
    """Print the metrics of a task, a row for each epoch."""
    points = _points(context, task)
    if as_json:
        return output.document(points)
    names = sorted({point["name"] for point in points})
    table: dict[int, dict[str, float]] = {}
    for point in points:
        table.setdefault(point["epoch"], {})[point["name"]] = point["value"]
    columns: output.Columns = {"EPOCH": lambda row: row[0], **{name: _value_of(name) for name in names}}
    return output.rows(sorted(table.items()), columns, as_json)


def curves(context: typer.Context, task: TaskId, as_json: output.AsJson = False) -> None:
    """Draw the metrics of a task over its epochs, a line for each."""
    series: dict[str, list[float]] = {}
    for point in sorted(_points(context, task), key=lambda point: point["epoch"]):
        series.setdefault(point["name"], []).append(point["value"])
    columns: output.Columns = {
        "METRIC": lambda row: row["name"],
        "CURVE": lambda row: sparkline(row["values"]),
        "FIRST": lambda row: row["values"][0],
        "LAST": lambda row: row["values"][-1],
        "LEAST": lambda row: min(row["values"]),
        "MOST": lambda row: max(row["values"]),
    }
    output.rows([{"name": name, "values": values} for name, values in sorted(series.items())], columns, as_json)


def sparkline(values: list[float]) -> str:
    """Values as blocks from their least to their most; of many values, as many as there is room for."""
    shown = [values[number * len(values) // WIDTH] for number in range(WIDTH)] if len(values) > WIDTH else values
    least, most = min(shown), max(shown)
    if least == most:
        return BLOCKS[0] * len(shown)
    return "".join(BLOCKS[int((value - least) / (most - least) * (len(BLOCKS) - 1) + 0.5)] for value in shown)


def _state(task: types.Task) -> str:
    return f"{task['state']} {task['progress']:.0%}" if task["state"] == "running" else task["state"]


def _expected(task: types.Task) -> str:
    """When it is to begin and to end, as far as that is known."""
    begins, ends = output.moment(task["estimated_start"]), output.moment(task["estimated_end"])
    return " ".join(part for part in (f"from {begins}" if begins else "", f"to {ends}" if ends else "") if part)


def _points(context: typer.Context, task: str) -> list[types.MetricPoint]:
    with client_of(context) as client:
        return client.metrics(task)


def _value_of(name: str) -> Any:
    return lambda row: row[1].get(name)


def _print(lines: Iterable[types.LogLine], as_json: bool) -> None:
    if as_json:
        return output.document(list(lines))
    for line in lines:
        if line.get("stream") != following.PROGRESS:
            output.line(line.get("line", ""))
    return None


def _told(found: list[types.Task], as_json: bool) -> None:
    output.rows(found, COLUMNS, as_json)
