"""The prediction log: rows leave in batches, off the path of requests; under pressure rows are dropped and counted."""

import asyncio
import time
from collections import defaultdict, deque
from itertools import chain, repeat
from typing import NamedTuple

from nats.js import JetStreamContext
from prometheus_client import Counter

from shared import observe
from shared.envelope import Envelope
from shared.events.predictions import PredictionColumns, PredictionsLogged
from shared.names import uuid_text
from shared.tally import Counts, Timings

KEPT_ROWS = 20_000
BATCH_ROWS = 1000
FLUSH_SECONDS = 0.5
PUBLISH_SECONDS = 3.0
PREDICTIONS = Counts("aimass_predictions_total", "Answered requests of the data plane", ["project", "model", "status"])
SECONDS = Timings(
    "aimass_prediction_seconds",
    "Time to answer a request, queueing included",
    ["project", "model"],
    (0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 10),
)
DROPPED = Counter("aimass_predictions_dropped_total", "Rows of the prediction log that were lost under pressure")


class Rows(NamedTuple):
    """Answered requests that are alike but for id and trace, and how long they took."""

    ids: tuple[bytes, ...]
    traces: tuple[str, ...]
    version: int
    status: int
    seconds: float
    batch: int
    key_id: str
    evaluation: bool
    time: float


class Message(NamedTuple):
    """A message of the log, as it goes to the bus; `rows` is how many it has."""

    subject: str
    payload: bytes
    headers: dict[str, str]
    rows: int


def logged_as(project: str, model: str, credential: str) -> tuple[str, str, str]:
    """Project, model and key of a row: those of who asked, who names a model that is shared `<project>.<model>`."""
    asker, _, key_id = credential.rpartition("/")
    return (asker, f"{project}.{model}", key_id) if asker else (project, model, key_id)


class Kept(deque[Rows]):
    """What waits to leave of a model, and how many rows that is."""

    def __init__(self) -> None:
        super().__init__()
        self.rows = 0


class PredictionLog:
    """A bounded buffer of rows for each model, and the loop that empties it."""

    def __init__(self, node: str) -> None:
        self._node = node
        self._kept: dict[tuple[str, str], Kept] = defaultdict(Kept)
        self._dropped: dict[tuple[str, str], int] = defaultdict(int)
        self._unsaid: dict[tuple[str, str], Message] = {}
        self._is_enough = asyncio.Event()

    def add(self, project: str, model: str, rows: Rows) -> None:
        key, count = (project, model), len(rows.ids)
        PREDICTIONS.add((project, model, rows.status), count)
        SECONDS.observe(key, rows.seconds, count)
        kept = self._kept[key]
        kept.append(rows)
        kept.rows += count
        while kept.rows > KEPT_ROWS:
            gone = len(kept.popleft().ids)
            kept.rows -= gone
            self._dropped[key] += gone
            DROPPED.inc(gone)
        if kept.rows >= BATCH_ROWS:
            self._is_enough.set()

    async def run(self, js: JetStreamContext) -> None:
        """Publish all now and then, and what fills a message at once: in a heap it would hold predictions up."""
        due = time.monotonic()
        while True:
            is_enough, now = await self._filled(), time.monotonic()
            is_due = now >= due or not is_enough
            due = now + FLUSH_SECONDS if is_due else due
            if not await self._emptied(js, 1 if is_due else BATCH_ROWS):
                await asyncio.sleep(FLUSH_SECONDS)

    async def _filled(self) -> bool:
        """Whether a message is full before others are due."""
        try:
            async with asyncio.timeout(FLUSH_SECONDS):
                await self._is_enough.wait()
        except TimeoutError:
            return False
        self._is_enough.clear()
        return True

    async def flush(self, js: JetStreamContext) -> None:
        """Publish all that is there; what the bus does not take stays for the next time."""
        await self._emptied(js, 1)

    async def _emptied(self, js: JetStreamContext, least: int) -> bool:
        """Publish what is there of models with so many rows, unless the bus does not take it.

        What it may have taken is said again as it was, so that nothing is kept twice.
        """
        for key, kept in list(self._kept.items()):
            while key in self._unsaid or kept.rows >= least:
                message = self._unsaid.pop(key, None) or self._message(*key, _taken(kept))
                if not await _is_published(js, message):
                    self._unsaid[key] = message
                    return False
        return True

    def _message(self, project: str, model: str, batch: list[Rows]) -> Message:
        dropped = self._dropped[project, model]
        event = PredictionsLogged(model=model, node=self._node, columns=_columns(batch), dropped=dropped)
        envelope = Envelope(event.type_name(), f"inference/{self._node}", event.aggregate, project=project)
        subject = f"pred.{project}.{model.rpartition('.')[2]}"
        rows = sum(len(each.ids) for each in batch)
        return Message(subject, event.model_dump_json().encode(), envelope.to_headers(), rows)


async def _is_published(js: JetStreamContext, message: Message) -> bool:
    try:
        await js.publish(message.subject, message.payload, headers=message.headers, timeout=PUBLISH_SECONDS)
    except Exception as error:
        observe.log().warning("prediction log waits", rows=message.rows, error=repr(error))
        return False
    return True


def _taken(kept: Kept) -> list[Rows]:
    """The oldest, as many as a message has."""
    batch: list[Rows] = []
    count = 0
    while kept and (not batch or count + len(kept[0].ids) <= BATCH_ROWS):
        batch.append(kept.popleft())
        count += len(batch[-1].ids)
    kept.rows -= count
    return batch


def _columns(batch: list[Rows]) -> PredictionColumns:
    """One column of each kind, whatever rows came together; nothing is validated that was made here."""
    ids, traces, *others = zip(*batch, strict=True)
    counts = [len(one) for one in ids]
    spread = [tuple(chain.from_iterable(map(repeat, column, counts))) for column in others]
    versions, statuses, seconds, batches, key_ids, evaluations, times = spread
    return PredictionColumns.model_construct(
        prediction_ids=tuple(map(uuid_text, chain.from_iterable(ids))),
        versions=versions,
        statuses=statuses,
        latencies_us=tuple([int(each * 1e6) for each in seconds]),
        batches=batches,
        key_ids=key_ids,
        trace_ids=tuple([trace[3:35] for trace in chain.from_iterable(traces)]),
        evaluations=evaluations,
        times=times,
    )
