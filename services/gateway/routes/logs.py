"""The logs of tasks: read and searched, followed as server-sent events or over WebSocket (sockets.py)."""

import json
import re
import time
from dataclasses import dataclass
from typing import Annotated, Any, Literal

from fastapi import Depends, Query
from pydantic import BaseModel, ConfigDict

from services.gateway.caller import Caller, CallerOf
from services.gateway.routes.declare import LastEventId, Position, Routes
from services.gateway.routes.tasks import TaskId, one_task
from services.gateway.sse import STREAMED, EventFlow, ServerEvent
from shared import observe
from shared.errors import AimassError
from shared.names import Slug
from shared.permissions import Permission
from shared.reading import POLL_SECONDS, Stored
from shared.rpc.tasks import TaskView
from shared.streams import log_subject

ROUTES = Routes("tasks")
FINAL_STATES = frozenset({"succeeded", "failed", "cancelled"})
IDLE_POLLS_PER_LOOK = int(1 / POLL_SECONDS)
Level = Literal["debug", "info", "warning", "error", "critical"]
LEVELS = ("debug", "info", "warning", "error", "critical")
LOOK_LINES, LOOK_SECONDS = 20_000, 5.0
_LEVEL = re.compile(r"(DEBUG|WARNING|ERROR|CRITICAL)\b")


class LogLine(BaseModel):
    """A line of a task's log, or a report of its progress; a level where the line begins with one."""

    model_config = ConfigDict(extra="allow")
    sequence: int
    at: float | None = None
    stream: str = ""
    line: str = ""
    level: Level | None = None

    @classmethod
    def of(cls, stored: Stored) -> "LogLine":
        line = cls.model_validate(json.loads(stored.data) | {"sequence": stored.sequence})
        named = _LEVEL.match(line.line)
        level = named[1].lower() if named else "error" if line.line.startswith("Traceback (most recent") else None
        return line if level is None else line.model_copy(update={"level": level})


class TaskLogs(BaseModel):
    """Lines of a task's log in order; ask again with `after` for what follows, which `more` says that there may be."""

    lines: list[LogLine] = []
    after: int = 0
    more: bool = False


@dataclass(frozen=True)
class Wanted:
    """Which lines are shown: those with a text in them, of a stream, of a level or a worse one."""

    search: str = ""
    stream: str = ""
    level: Level | None = None

    def has(self, line: LogLine) -> bool:
        return (
            self.search.lower() in line.line.lower()
            and self.stream in ("", line.stream)
            and (self.level is None or LEVELS.index(line.level or "info") >= LEVELS.index(self.level))
        )


async def wanted_lines(
    search: Annotated[str, Query(max_length=200, description="lines with this text, whatever its capitals")] = "",
    stream: Annotated[Slug | None, Query(description="output, state, progress, task or dropped")] = None,
    level: Annotated[Level | None, Query(description="lines of this level or a worse one")] = None,
) -> Wanted:
    return Wanted(search, stream or "", level)


@ROUTES.add("GET", "/tasks/{task_id}/logs", Permission.TASKS_READ, response_model=TaskLogs, responses=STREAMED)
async def show_task_logs(
    task_id: TaskId,
    caller: CallerOf,
    wanted: Annotated[Wanted, Depends(wanted_lines)],
    follow: bool = False,
    after: Position = 0,
    limit: Annotated[int, Query(ge=1, le=5000)] = 1000,
    last_event_id: LastEventId = 0,
) -> Any:
    """The log of a task, or what is wanted of it; with `follow` as server-sent events until the task has ended.

    The same over WebSocket: `/tasks/{task_id}/logs/ws?after=`.
    """
    position = max(after, last_event_id)
    if follow:
        return caller.edges.followers.response(await followed_log(task_id, caller, position, wanted))
    await one_task(task_id, caller)
    return await _found(log_subject(caller.project, task_id), position, limit, wanted, caller)


async def _found(subject: str, position: int, limit: int, wanted: Wanted, caller: Caller) -> TaskLogs:
    """The lines that are wanted among those that can be looked at in a while."""
    found, looked, until = TaskLogs(after=position), 0, time.monotonic() + LOOK_SECONDS
    async for stored in caller.edges.logs.read(subject, position + 1, LOOK_LINES):
        line, looked = LogLine.of(stored), looked + 1
        found.after = line.sequence
        if wanted.has(line):
            found.lines.append(line)
        if len(found.lines) == limit or looked == LOOK_LINES or time.monotonic() > until:
            found.more = True
            break
    return found


async def followed_log(task_id: str, caller: Caller, position: int, wanted: Wanted) -> EventFlow:
    """The log of a task as it comes; raises NotFound for a task that is not there."""
    await one_task(task_id, caller)
    return _follow(task_id, log_subject(caller.project, task_id), position + 1, caller, wanted)


async def _follow(task_id: str, subject: str, start: int, caller: Caller, wanted: Wanted) -> EventFlow:
    idle, ended = 0, None
    async for stored in caller.edges.logs.follow(subject, sequence=start):
        if not caller.is_still_known():
            return
        if stored is not None:
            line = LogLine.of(stored)
            yield ServerEvent(line.model_dump(exclude_defaults=True), stored.sequence) if wanted.has(line) else None
            continue
        if ended:
            yield ServerEvent(ended.model_dump(mode="json"), event="end")
            return
        yield None
        idle += 1
        if idle % IDLE_POLLS_PER_LOOK == 1:
            ended = await _ended(task_id, caller)


async def _ended(task_id: str, caller: Caller) -> TaskView | None:
    """The task if it has ended; its last lines may still come after this answer."""
    try:
        task = await one_task(task_id, caller)
    except AimassError as error:
        observe.log().debug("task's owner not reachable", error=error.message)
        return None
    return task if task.state in FINAL_STATES else None
