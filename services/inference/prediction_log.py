"""The prediction log: rows leave in batches, off the path of requests; under pressure rows are dropped and counted."""

import asyncio
from collections import defaultdict, deque
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


class Row(NamedTuple):
    """One answered request, in the order of the columns of PredictionColumns."""

    prediction_id: bytes
    version: int
    status: int
    latency_us: int
    batch: int
    key_id: str
    trace_id: str
    evaluation: bool
    time: float


def logged_as(project: str, model: str, credential: str) -> tuple[str, str, str]:
    """Project, model and key of a row: those of who asked, who names a model that is shared `<project>.<model>`."""
    asker, _, key_id = credential.rpartition("/")
    return (asker, f"{project}.{model}", key_id) if asker else (project, model, key_id)


class PredictionLog:
    """A bounded buffer of rows for each model, and the loop that empties it."""

    def __init__(self, node: str) -> None:
        self._node = node
        self._rows: dict[tuple[str, str], deque[Row]] = defaultdict(deque)
        self._dropped: dict[tuple[str, str], int] = defaultdict(int)

    def add(self, project: str, model: str, row: Row, seconds: float) -> None:
        key = (project, model)
        PREDICTIONS.add((project, model, row.status))
        SECONDS.observe(key, seconds)
        rows = self._rows[key]
        if len(rows) >= KEPT_ROWS:
            rows.popleft()
            self._dropped[key] += 1
            DROPPED.inc()
        rows.append(row)

    async def run(self, js: JetStreamContext) -> None:
        while True:
            await asyncio.sleep(FLUSH_SECONDS)
            await self.flush(js)

    async def flush(self, js: JetStreamContext) -> None:
        """Publish all that is there; what the bus does not take now stays for the next time."""
        for (project, model), rows in list(self._rows.items()):
            while rows:
                batch = [rows.popleft() for _ in range(min(len(rows), BATCH_ROWS))]
                if not await self._publish(js, project, model, batch):
                    rows.extendleft(reversed(batch))
                    return

    async def _publish(self, js: JetStreamContext, project: str, model: str, batch: list[Row]) -> bool:
        dropped = self._dropped[project, model]
        event = PredictionsLogged(model=model, node=self._node, columns=_columns(batch), dropped=dropped)
        envelope = Envelope(event.type_name(), f"inference/{self._node}", event.aggregate, project=project)
        subject = f"pred.{project}.{model.rpartition('.')[2]}"
        try:
            payload = event.model_dump_json().encode()
            await js.publish(subject, payload, headers=envelope.to_headers(), timeout=PUBLISH_SECONDS)
        except Exception as error:
            observe.log().warning("prediction log waits", rows=len(batch), error=repr(error))
            return False
        return True


def _columns(rows: list[Row]) -> PredictionColumns:
    ids, *others = zip(*rows, strict=True)
    columns = (map(uuid_text, ids), *others)
    return PredictionColumns.model_validate(dict(zip(PredictionColumns.model_fields, columns, strict=True)))
