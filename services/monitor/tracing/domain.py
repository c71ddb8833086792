"""What an id names, and how what happened hangs together as a tree; pure.

An event hangs below the one that caused it; what a task or a pipeline says hangs below it, and it below what began it.
"""

import re
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from shared.rpc.monitor import TimelineEntry, Trace, TraceNode
from shared.rpc.tasks import TaskView
from shared.streams import TASK_SERVICES

THING = re.compile(r"([a-z]{1,32})-[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
VERSION = re.compile(r"(?:(?:models|deployment)/|[a-z0-9_-]{1,64}\.)?([a-z0-9_-]{1,64})[/@:.]([1-9][0-9]{0,9})")
THINGS = ("tasks", "training", "evaluation", "pipelines", "inference")
TELLING = ("model", "version", "alias", "state", "verdict", "forced", "reason", "error_class", "task_id", "step")
STEP = ".PipelineStepChanged"
ENUMERATED = re.compile(r"^(TASK_STATE|VERDICT)_")
SAME = 3
ROOT = ""


@dataclass(frozen=True)
class Served:
    """The predictions of one version among those that were looked at."""

    model: str
    version: int
    count: int
    errors: int
    first: datetime
    last: datetime
    more: bool = False


@dataclass
class Known:
    """All that is known around an id."""

    events: list[TimelineEntry]
    tasks: list[TaskView] = field(default_factory=list)
    served: list[Served] = field(default_factory=list)
    prediction: TraceNode | None = None


def thing_of(text: str) -> str:
    """The kind of what has an id of its own, such as train or pipeline; nothing for other texts."""
    found = THING.fullmatch(text)
    return found[1] if found else ""


def version_of(text: str) -> tuple[str, int] | None:
    """Model and number of digits-cnn/3, digits-cnn@3, models/digits-cnn/3 or default.digits-cnn.3."""
    found = VERSION.fullmatch(text)
    return (found[1], int(found[2])) if found else None


def subjects_of(thing: str) -> list[str]:
    return [f"{domain}/{thing}" for domain in THINGS]


def versions_in(events: Iterable[TimelineEntry]) -> set[tuple[str, int]]:
    """The versions that these events are about."""
    named = ((event.data.get("model"), event.data.get("version")) for event in events)
    return {(model, version) for model, version in named if model and version}


def trace_of(asked: str, known: Known, truncated: bool) -> Trace:
    """The tree, each node after the one that it hangs from."""
    nodes = {node.id: node for node in _Forest(known).nodes()}
    return Trace(id=asked, nodes=_in_order(nodes, asked), truncated=truncated)


class _Forest:
    """Finds what each node hangs from."""

    def __init__(self, known: Known) -> None:
        self._known = known
        self._events = {event.id: event for event in known.events}
        self._tasks = {task.id: task for task in known.tasks}
        self._of_thing: dict[str, list[TimelineEntry]] = defaultdict(list)
        for event in known.events:
            if thing := self._thing(event):
                self._of_thing[thing].append(event)
        self._steps = {
            event.data["task_id"]: thing
            for event in known.events
            if (thing := self._thing(event)) and event.type.endswith(STEP) and event.data.get("task_id")
        }

    def nodes(self) -> Iterable[TraceNode]:
        yield from map(self._event, self._known.events)
        yield from map(self._thing_node, sorted({*self._of_thing, *self._tasks}))
        yield from self._versions()
        yield from map(self._predictions, self._known.served)
        if self._known.prediction:
            yield self._known.prediction

    @staticmethod
    def _thing(event: TimelineEntry) -> str:
        domain, _, name = event.subject.partition("/")
        return name if domain in THINGS else ROOT

    def _event(self, event: TimelineEntry) -> TraceNode:
        cause, thing = self._events.get(event.causation_id), self._thing(event)
        of_another = cause is None or self._thing(cause) != thing
        facts = {name: _short(event.data[name]) for name in TELLING if event.data.get(name)}
        return TraceNode(
            id=event.id,
            parent=thing if thing and of_another else cause.id if cause else ROOT,
            kind="event",
            name=event.type.rpartition(".")[2],
            about=event.subject,
            at=event.at,
            position=event.position,
            facts=facts,
        )

    def _thing_node(self, thing: str) -> TraceNode:
        events, task = self._of_thing.get(thing, []), self._tasks.get(thing)
        kind = thing_of(thing)
        return TraceNode(
            id=thing,
            parent=self._begun_by(thing, events, task),
            kind="task" if kind in TASK_SERVICES else kind or "inference",
            name=f"{task.kind} {task.model}".strip() if task else kind or "inference",
            at=(task and task.created_at) or events[0].at,
            until=task.ended_at if task else events[-1].at,
            state=task.state if task else str(_short(events[-1].data.get("state", ""))),
        )

    def _begun_by(self, thing: str, events: list[TimelineEntry], task: TaskView | None) -> str:
        for event in events:
            cause = self._events.get(event.causation_id)
            if cause and self._thing(cause) != thing:
                return cause.id
        parent = task.parent if task else ROOT
        return parent if parent in self._tasks or parent in self._of_thing else self._steps.get(thing, ROOT)

    def _versions(self) -> Iterable[TraceNode]:
        for event in self._known.events:
            if event.type.endswith(".VersionRegistered"):
                name = f"{event.data['model']}/{event.data['version']}"
                yield TraceNode(id=name, parent=event.id, kind="version", name=name, at=event.at)

    def _predictions(self, served: Served) -> TraceNode:
        name = f"{served.model}/{served.version}"
        facts = {"errors": served.errors} | ({"more": True} if served.more else {})
        return TraceNode(
            id=f"{name}/predictions",
            parent=self._switched_to(served) or name,
            kind="predictions",
            name=f"answered by {name}",
            at=served.first,
            until=served.last,
            count=served.count,
            facts=facts,
        )

    def _switched_to(self, served: Served) -> str:
        of_version = (served.model, served.version)
        switches = [
            event.id
            for event in self._known.events
            if event.type.endswith(".TrafficSwitched") and of_version in versions_in([event])
        ]
        return switches[-1] if switches else ROOT


def _in_order(nodes: dict[str, TraceNode], asked: str) -> list[TraceNode]:
    """Depth first, the earlier before the later; who hangs from nothing known, or in a circle, stands at the top."""
    below: dict[str, list[TraceNode]] = defaultdict(list)
    for node in nodes.values():
        below[node.parent if node.parent in nodes else ROOT].append(node)
    ordered: list[TraceNode] = []
    placed: set[str] = set()
    for top in (below[ROOT], sorted(nodes.values(), key=_rank)):
        waiting = [(node, 0) for node in sorted(top, key=_rank, reverse=True)]
        while waiting:
            node, depth = waiting.pop()
            if node.id in placed:
                continue
            placed.add(node.id)
            children = [child for child in below[node.id] if child.id not in placed]
            parent = node.parent if depth else ROOT
            marks = {"depth": depth, "parent": parent, "caused": len(children), "asked": node.id == asked}
            ordered.append(node.model_copy(update=marks))
            waiting += [(child, depth + 1) for child in sorted(children, key=_rank, reverse=True)]
    return _folded(ordered)


def _short(value: Any) -> Any:
    """running, not TASK_STATE_RUNNING."""
    return ENUMERATED.sub("", value).lower() if isinstance(value, str) and ENUMERATED.match(value) else value


def _rank(node: TraceNode) -> tuple[datetime, int, str]:
    return node.at, node.position, node.id


def _folded(ordered: list[TraceNode]) -> list[TraceNode]:
    """Many events of one kind about one thing, with nothing between them and nothing of theirs, are told as one."""
    found: list[list[TraceNode]] = []
    for node in ordered:
        if found and _is_like(found[-1][-1], node):
            found[-1].append(node)
        else:
            found.append([node])
    return [node for run in found for node in (run if len(run) <= SAME else [_one_of(run)])]


def _is_like(one: TraceNode, other: TraceNode) -> bool:
    quiet = not (one.caused or other.caused or one.asked or other.asked)
    return quiet and one.kind == "event" and _kind_of(one) == _kind_of(other)


def _kind_of(node: TraceNode) -> tuple[Any, ...]:
    return node.parent, node.kind, node.name, node.about


def _one_of(run: list[TraceNode]) -> TraceNode:
    return run[0].model_copy(update={"count": len(run), "until": run[-1].at})
