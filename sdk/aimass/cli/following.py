"""Following a task to its end: its log as lines, its progress as a bar on a terminal, or all of it as JSON lines."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn

from aimass import Client, types
from aimass.cli import exits, output

PROGRESS = "progress"
STEP_PERCENT = 5


def follow(client: Client, task_id: str, as_json: bool, after: int = 0) -> types.Task:
    """Show the log and the progress of a task until it has ended; Ctrl-C leaves it running."""
    try:
        with _view(as_json) as view:
            for line in client.follow_logs(task_id, after=after):
                view.show(line)
    except KeyboardInterrupt:
        exits.leave(
            exits.INTERRUPTED,
            f"{task_id} goes on: 'aimass logs -f {task_id}' follows it, 'aimass cancel {task_id}' stops it",
        )
    return client.task(task_id)


def end(task: types.Task, as_json: bool) -> None:
    """Say how a task ended; one that did not succeed ends the command with its code."""
    if as_json:
        output.json_line({"event": "ended", "task": task})
    else:
        output.note(_sentence(task))
    if task["state"] != "succeeded":
        exits.leave(exits.TASK_FAILED, _advice(task))


def _sentence(task: types.Task) -> str:
    return f"{task['id']} {task['state']}" + (f": {task['note']}" if task["note"] else "")


def _advice(task: types.Task) -> str:
    if task["state"] == "failed":
        return f"{task['error_class']}: {task['error_message']} ('aimass tasks {task['id']}' shows more)"
    return f"{task['id']} was {task['state']}"


class _JsonView:
    def show(self, line: types.LogLine) -> None:
        output.json_line({"event": PROGRESS if line.get("stream") == PROGRESS else "log", **line})


class _PlainView:
    """Lines of the log on stdout; on stderr a line of progress now and then."""

    def __init__(self) -> None:
        self._told = -STEP_PERCENT

    def show(self, line: types.LogLine) -> None:
        if line.get("stream") != PROGRESS:
            return output.line(line.get("line", ""))
        percent = int(line.get("fraction", 0) * 100)
        if percent >= self._told + STEP_PERCENT:
            self._told = percent
            output.note(f"{percent}% {_message(line)}")
        return None


class _BarView:
    """The same on a terminal: the log passes above a bar that stays."""

    def __init__(self, progress: Progress) -> None:
        self._progress = progress
        self._bar = progress.add_task("waiting", total=1.0)

    def show(self, line: types.LogLine) -> None:
        if line.get("stream") == PROGRESS:
            self._progress.update(self._bar, completed=line.get("fraction", 0), description=_message(line))
        else:
            text = output.printable(line.get("line", ""))
            self._progress.console.print(text, markup=False, highlight=False, soft_wrap=True)


@contextmanager
def _view(as_json: bool) -> Iterator[Any]:
    if as_json or not sys.stdout.isatty():
        yield _JsonView() if as_json else _PlainView()
        return
    columns = (BarColumn(), TaskProgressColumn(), TextColumn("{task.description}", markup=False))
    with Progress(*columns, console=Console(), transient=True) as progress:
        yield _BarView(progress)


def _message(line: types.LogLine) -> str:
    left = line.get("seconds_left")
    return output.printable(line.get("message", "")) + (f", {left:.0f} s left" if left is not None else "")
