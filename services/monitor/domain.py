"""When an event happened, in which order a chain is told, and how lost predictions are counted; pure."""

import heapq
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import compress
from typing import Any

from shared.errors import InvalidInput
from shared.events.predictions import Prediction, PredictionColumns, PredictionsLogged
from shared.rpc.monitor import TimelineEntry
from shared.rpc.tasks import TaskView

ROOT = -1
EPOCH = datetime.fromtimestamp(0, UTC)


def moment(text: str, now: datetime) -> datetime:
    """The time of an envelope, never in the future; one without a time happened now.

    Raises InvalidInput for a text that is no time.
    """
    if not text:
        return now
    try:
        found = datetime.fromisoformat(text)
    except ValueError:
        raise InvalidInput(f"{text!r} is not a time of RFC 3339", field="time") from None
    return min(found if found.tzinfo else found.replace(tzinfo=UTC), now)


def cursor_after(task: TaskView) -> str:
    """Where a list of tasks goes on: the place of the last one shown, which no later change of a task moves."""
    assert task.created_at is not None
    return f"{(task.created_at - EPOCH) // timedelta(microseconds=1)}_{task.id}"


def read_cursor(cursor: str) -> tuple[datetime | None, str]:
    """Time and id of a place; no time for the beginning."""
    microseconds, _, task_id = cursor.partition("_")
    return (EPOCH + timedelta(microseconds=int(microseconds)) if cursor else None), task_id


def causal_order(entries: Iterable[TimelineEntry]) -> list[TimelineEntry]:
    """By time, but no event before the one that caused it, whatever the clocks of their hosts say."""
    known = sorted(entries, key=_rank)
    places = {entry.id: place for place, entry in enumerate(known)}
    effects: dict[int, list[int]] = defaultdict(list)
    for place, entry in enumerate(known):
        effects[places.get(entry.causation_id, ROOT)].append(place)
    waiting, ordered = effects.pop(ROOT, []), []
    while waiting:
        ordered.append(place := heapq.heappop(waiting))
        for effect in effects.pop(place, []):
            heapq.heappush(waiting, effect)
    circular = sorted(set(range(len(known))) - set(ordered))
    return [known[place] for place in (*ordered, *circular)]


def _rank(entry: TimelineEntry) -> tuple[datetime, int, str]:
    return entry.at, entry.sequence, entry.id


@dataclass(frozen=True)
class Loss:
    """A node's counter of lost rows: its newest message, what it said there, and the sum of all its runs."""

    message_id: str = ""
    counter: int = 0
    total: int = 0


def count_loss(known: Loss, message_id: str, counter: int) -> Loss:
    """A counter that fell was started anew; a message older than the newest (UUIDv7 sort by time) says nothing new."""
    if message_id <= known.message_id:
        return known
    more = counter - known.counter if counter >= known.counter else counter
    return Loss(message_id, counter, known.total + more)


@dataclass(frozen=True)
class Block:
    """Predictions that are kept together: all of evaluations, or none; `columns` as the table has them."""

    evaluation: bool
    columns: tuple[tuple[Any, ...], ...]

    @property
    def bounds(self) -> tuple[Any, ...]:
        """What a query knows of it: how many there are, the first and the last id and time."""
        ids, times = self.columns[0], self.columns[-1]
        return self.evaluation, len(ids), min(ids), max(ids), min(times), max(times)


def prediction_blocks(event: PredictionsLogged, heard_at: datetime) -> list[Block]:
    """The predictions of a message, none later than it was heard of.

    Raises InvalidInput for columns of several lengths, and for a prediction without an id: nobody could ask for it.
    """
    *columns, evaluations, times = _columns(event, heard_at)
    latest = heard_at.timestamp()
    columns.append(tuple([min(each, latest) for each in times]))
    kinds = set(evaluations)
    if len(kinds) == 1:
        return [Block(evaluations[0], tuple(columns))]
    wanted = {kind: [each == kind for each in evaluations] for kind in kinds}
    return [Block(kind, tuple(tuple(compress(column, wanted[kind])) for column in columns)) for kind in sorted(kinds)]


def _columns(event: PredictionsLogged, heard_at: datetime) -> list[tuple[Any, ...]]:
    columns = [tuple(getattr(event.columns, name)) for name in PredictionColumns.model_fields]
    if len({len(column) for column in columns}) > 1:
        raise InvalidInput("the columns have several lengths", field="columns")
    if event.rows:
        rows = zip(*(_prediction(row, heard_at) for row in event.rows), strict=True)
        columns = [column + more for column, more in zip(columns, rows, strict=True)]
    if not all(columns[0]):
        raise InvalidInput("a prediction has no id", field="prediction_id")
    return columns


def _prediction(row: Prediction, heard_at: datetime) -> tuple[Any, ...]:
    at = (row.at or heard_at).timestamp()
    counts = (row.version, row.status, row.latency_us, row.batch)
    return (row.prediction_id, *counts, row.key_id, row.trace_id, row.evaluation, at)
