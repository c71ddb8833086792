"""Rows of the prediction log while a load went on: how many were to be kept, how many were lost."""

import time
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import httpx
import psycopg
from prometheus_client.parser import text_string_to_metric_families

ANSWERED = "aimass_predictions_total"
DROPPED = "aimass_predictions_dropped_total"
SETTLE_SECONDS = 120.0
STILL_SECONDS = 15.0
ROWS = "SELECT count(*) FROM monitor.predictions WHERE last_at >= %(since)s AND at >= %(since)s"


@dataclass(frozen=True)
class Counts:
    """Since inference started."""

    answered: int
    dropped: int


def counts(metrics: str) -> Counts:
    """What a Prometheus text says of the prediction log."""
    totals = {ANSWERED: 0.0, DROPPED: 0.0}
    for family in text_string_to_metric_families(metrics):
        for sample in family.samples:
            if sample.name in totals:
                totals[sample.name] += sample.value
    return Counts(int(totals[ANSWERED]), int(totals[DROPPED]))


def read(metrics_url: str) -> Counts:
    return counts(httpx.get(metrics_url, timeout=10).raise_for_status().text)


def kept(dsn: str, since: datetime, expected: int) -> int:
    """Rows of predictions since then that monitor has, once all that are expected are there or no more come."""
    begun, found, last_change = time.monotonic(), -1, time.monotonic()
    with psycopg.connect(dsn, autocommit=True) as connection:
        while time.monotonic() - begun < SETTLE_SECONDS and time.monotonic() - last_change < STILL_SECONDS:
            count = _rows(connection, since)
            if count >= expected:
                return count
            if count != found:
                found, last_change = count, time.monotonic()
            time.sleep(0.5)
    return found


def _rows(connection: "psycopg.Connection[Any]", since: datetime) -> int:
    row = connection.execute(ROWS, {"since": since}).fetchone()
    assert row is not None
    return int(row[0])
