"""Negative controls: what a broken promise would leave is put there by hand, and the auditor must see it."""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import psycopg
import pytest

from tests.audit import UNDISTURBED, audit
from tests.faults.job import settled
from tests.faults.test_replay import history, publish
from tests.freezing import freeze, thaw
from tests.house import House

# What is seen, by what is done to the rows of one service and undone again.
ROWS = {
    "versions": (
        "DROP INDEX registry.one_version_per_task;"
        "INSERT INTO registry.versions SELECT (jsonb_populate_record(v, '{{\"version\": 9999}}')).* "
        "FROM registry.versions v WHERE task_id = '{task}'",
        "DELETE FROM registry.versions WHERE version = 9999;"
        "CREATE UNIQUE INDEX one_version_per_task ON registry.versions (project, task_id) WHERE task_id <> ''",
    ),
    "models": (
        "INSERT INTO registry.versions SELECT (jsonb_populate_record(v, "
        '\'{{"version": 9999, "task_id": "another", "digest": "another"}}\')).* '
        "FROM registry.versions v WHERE task_id = '{task}'",
        "DELETE FROM registry.versions WHERE version = 9999",
    ),
    "epochs": (
        "UPDATE monitor.timeline SET type = type || '.lost' WHERE type LIKE '%.EpochCompleted'",
        "UPDATE monitor.timeline SET type = replace(type, '.lost', '') WHERE type LIKE '%.lost'",
    ),
    "champion": (
        "UPDATE evaluator.champions SET version = version + 1",
        "UPDATE evaluator.champions SET version = version - 1",
    ),
    "misprojected_tasks": (
        "UPDATE monitor.task_list SET state = 'running' WHERE id = '{task}'",
        "UPDATE monitor.task_list SET state = 'succeeded' WHERE id = '{task}'",
    ),
    "misprojected_keys": (
        "UPDATE auth.api_keys SET revoked_at = now() WHERE revoked_at IS NULL",
        "UPDATE auth.api_keys SET revoked_at = NULL WHERE revoked_at = (SELECT max(revoked_at) FROM auth.api_keys)",
    ),
    "unpublished": (
        "UPDATE registry.outbox SET published_at = NULL, dead_at = now() "
        "WHERE position = (SELECT max(position) FROM registry.outbox)",
        "UPDATE registry.outbox SET published_at = now(), dead_at = NULL WHERE dead_at IS NOT NULL",
    ),
    "unended_tasks": (
        "UPDATE trainer.tasks SET ended_at = NULL WHERE id = '{task}'",
        "UPDATE trainer.tasks SET ended_at = (SELECT ended_at FROM monitor.task_list t WHERE t.id = '{task}') "
        "WHERE id = '{task}'",
    ),
}


def change(house: House, statements: str, task: str) -> None:
    with psycopg.connect(house.stack.info["postgres"], autocommit=True) as connection:
        for statement in statements.format(task=task).split(";"):
            connection.execute(statement)  # type: ignore[arg-type]


@contextmanager
def changed(house: House, task: str, done: str, undone: str) -> Iterator[None]:
    change(house, done, task)
    try:
        yield
    finally:
        change(house, undone, task)


def said(house: House, task: str, name: str) -> Any:
    """The message by which a service told something of this task's chain."""
    correlation = house.task(task)["correlation_id"]
    return next(
        message
        for message in asyncio.run(history(house))
        if message.headers["ce-correlationid"] == correlation and message.headers["ce-type"].endswith(f".{name}")
    )


@pytest.mark.parametrize("seen", ROWS)
def test_a_wrong_row_is_seen(house: House, finished: str, seen: str) -> None:
    with changed(house, finished, *ROWS[seen]):
        assert getattr(audit(house, finished), seen) != getattr(UNDISTURBED, seen)
    assert settled(house, finished) == UNDISTURBED


def test_an_altered_artifact_is_seen(house: House, finished: str) -> None:
    digest = house.rows("registry", f"SELECT digest FROM versions WHERE task_id = '{finished}'")[0]["digest"]
    file = house.stack.home.folder("artifacts") / digest
    content = file.read_bytes()
    file.write_bytes(bytes([content[0] ^ 1]) + content[1:])
    try:
        assert audit(house, finished).unsound_artifacts == 1
    finally:
        file.write_bytes(content)


def test_a_message_in_hand_is_seen(house: House, finished: str) -> None:
    """A frozen registry has still to hear a repeat."""
    registry = house.stack.pid("registry")
    freeze(registry)
    try:
        asyncio.run(publish(house, [said(house, finished, "TrainingCompleted")]))
        assert audit(house, finished).unhandled > 0
    finally:
        thaw(registry)
    assert settled(house, finished, whole=True) == UNDISTURBED


def test_an_event_told_twice_is_seen(house: House, finished: str) -> None:
    """Under a second identity no inbox knows it; it is the last control, as it stays in the timeline."""
    message = said(house, finished, "VersionPromoted")
    message.headers["ce-id"] = "told-twice"
    asyncio.run(publish(house, [message]))
    with pytest.raises(AssertionError, match="the outcome"):
        settled(house, finished, seconds=5)
    assert audit(house, finished).chain["VersionPromoted"] == 2
