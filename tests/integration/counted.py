"""A small service whose effects can be counted: what it heard stands in a table, once for each handling that lasted."""

import asyncio
from dataclasses import dataclass
from typing import Any

from pydantic import SecretStr

from shared import outbox
from shared.context import Context
from shared.events.training import TrainingCompleted, TrainingFailed
from shared.handlers import Handlers
from shared.settings import ServiceSettings
from shared.work import Work
from tests.integration.running import Running, until

TABLE = "CREATE TABLE effects (value text)"
EFFECTS = "SELECT value, count(*) AS times FROM effects GROUP BY value"


@dataclass
class Pace:
    """How long each handling takes."""

    seconds: float = 0.0


async def on_training_completed(event: TrainingCompleted, work: Work[Pace]) -> None:
    await work.tx.execute("INSERT INTO effects VALUES ($1)", event.task_id)
    await asyncio.sleep(work.parts.seconds)


HANDLERS = Handlers("registry", events={TrainingCompleted: on_training_completed})


async def prepare(running: Running) -> None:
    await running.rows(TABLE)


async def effects(running: Running) -> dict[str, int]:
    """How often each task took effect."""
    return {row["value"]: row["times"] for row in await running.rows(EFFECTS)}


async def say(running: Running, *tasks: str) -> None:
    """Commit events of these tasks; the relay publishes them when it can."""
    database = running.service.database
    assert database is not None
    async with database.transaction() as tx:
        await outbox.write(tx, [TrainingFailed(task_id=task) for task in tasks], Context(), "registry")


async def said(running: Running) -> list[str]:
    """The tasks of what the bus took, in its order."""
    return [event.task_id for event in await running.said(TrainingFailed)]


async def troubled(running: Running, check: str) -> str:
    """What a check says is wrong, once it does."""

    async def problem() -> str:
        return running.service.readiness.problems().get(check, "")

    found: str = await until(problem)
    return found


async def well(running: Running) -> None:
    async def ready() -> bool:
        return not running.service.readiness.problems()

    await until(ready)


def moved(settings: ServiceSettings, **ports: int) -> ServiceSettings:
    """The same settings with another port for `nats` or `postgres`."""
    changes: dict[str, Any] = {}
    if "nats" in ports:
        changes["nats_url"] = _with_port(settings.nats_url, ports["nats"])
    if "postgres" in ports:
        url = _with_port(settings.database_url.get_secret_value(), ports["postgres"])
        changes["database_url"] = SecretStr(url)
    return settings.model_copy(update=changes)


def _with_port(url: str, port: int) -> str:
    head, _, tail = url.rpartition(":")
    _, slash, path = tail.partition("/")
    return f"{head}:{port}{slash}{path}"
