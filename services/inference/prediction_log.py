"""The prediction log: rows leave in batches, off the path of requests; under pressure rows are dropped and counted."""

import asyncio
from collections import defaultdict, deque
from functools import lru_cache
from typing import Any

from nats.js import JetStreamContext
from prometheus_client import Counter, Histogram

from shared import observe
from shared.envelope import Envelope
from shared.events.predictions import PredictionsLogged

KEPT_ROWS = 20_000
BATCH_ROWS = 1000
FLUSH_SECONDS = 0.5
PUBLISH_SECONDS = 3.0
PREDICTIONS = Counter("aimass_predictions_total", "Answered requests of the data plane", ["project", "model", "status"])
SECONDS = Histogram(
    "aimass_prediction_seconds",
    "Time to answer a request, queueing included",
    ["project", "model"],
    buckets=(0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 10),
)
DROPPED = Counter("aimass_predictions_dropped_total", "Rows of the prediction log that were lost under pressure")


@lru_cache(maxsize=1024)
def _answered(project: str, model: str, status: int) -> Counter:
    return PREDICTIONS.labels(project, model, status)


@lru_cache(maxsize=1024)
def _seconds(project: str, model: str) -> Histogram:
    return SECONDS.labels(project, model)


class PredictionLog:
    """A bounded buffer of rows for each model, and the loop that empties it."""

    def __init__(self, node: str) -> None:
        self._node = node
        self._rows: dict[tuple[str, str], deque[dict[str, Any]]] = defaultdict(deque)
        self._dropped: dict[tuple[str, str], int] = defaultdict(int)

    def add(self, project: str, model: str, row: dict[str, Any], seconds: float) -> None:
        _answered(project, model, row["status"]).inc()
        _seconds(project, model).observe(seconds)
        rows = self._rows[project, model]
        if len(rows) >= KEPT_ROWS:
            rows.popleft()
            self._dropped[project, model] += 1
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

    async def _publish(self, js: JetStreamContext, project: str, model: str, batch: list[dict[str, Any]]) -> bool:
        event = PredictionsLogged.model_validate(
            {"model": model, "node": self._node, "rows": batch, "dropped": self._dropped[project, model]}
        )
        envelope = Envelope(event.type_name(), f"inference/{self._node}", event.aggregate, project=project)
        subject = f"pred.{project}.{model}"
        try:
            payload = event.model_dump_json().encode()
            await js.publish(subject, payload, headers=envelope.to_headers(), timeout=PUBLISH_SECONDS)
        except Exception as error:
            observe.log().warning("prediction log waits", rows=len(batch), error=repr(error))
            return False
        return True
