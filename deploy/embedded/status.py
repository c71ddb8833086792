"""The table of parts: pid, uptime, memory, ready."""

from dataclasses import dataclass

from rich.console import Console
from rich.table import Table

from deploy.embedded import processes
from deploy.embedded.control import LISTENER
from deploy.embedded.parts import PARTS
from deploy.embedded.stack import Stack

MIB = 1024 * 1024


@dataclass(frozen=True)
class Row:
    """One part as it is now; memory is its proportional set size with its children's."""

    part: str
    state: str
    pid: int | None = None
    uptime: float = 0.0
    memory: int = 0
    ready: bool = False


def rows(stack: Stack) -> list[Row]:
    """All parts in starting order, then the process manager."""
    stack.check_running()
    states = stack.manager.states()
    found = [row(stack, part, states[part]["statename"].lower()) for part in PARTS]
    return [*found, manager_row(stack)]


def row(stack: Stack, part: str, state: str) -> Row:
    pid = stack.manager.pids().get(part)
    if pid is None:
        return Row(part, state)
    memory = processes.memory(processes.family(pid))
    return Row(part, state, pid, processes.age(pid), memory, stack.is_ready(part))


def manager_row(stack: Stack) -> Row:
    """The process manager with its listener, without the parts that have rows of their own."""
    pid, listener = stack.pid("supervisord"), stack.pid(LISTENER)
    return Row("supervisord", "running", pid, processes.age(pid), processes.memory([pid, listener]), True)


def show(stack: Stack) -> int:
    """Print the table; 0 when all that runs is ready."""
    found = rows(stack)
    table = Table("part", "state", "pid", "uptime", "memory", "ready", title=f"{stack.home.path}\n{stack.address}")
    for entry in found:
        ready = "[green]yes" if entry.ready else "[red]no"
        uptime, memory = duration(entry.uptime), f"{entry.memory / MIB:.0f} MB"
        table.add_row(entry.part, entry.state, str(entry.pid or "-"), uptime, memory, ready)
    table.add_section()
    table.add_row("all", "", "", "", f"{sum(entry.memory for entry in found) / MIB:.0f} MB", "")
    Console().print(table)
    return 0 if all(entry.ready for entry in found) else 1


def duration(seconds: float) -> str:
    minutes, rest = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}"
