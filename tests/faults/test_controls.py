"""Negative controls of the mixed run: without the inbox, and by the library's own way to acknowledge, it is not kept.

The promises of the mixed run's auditor are held against a service whose effects can be counted, under the same repeats
and passing failures: with the platform's own rules none is broken, and with either rule missing the auditor says so.
"""

import random
from collections.abc import AsyncIterator, Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from faststream.middlewares import AckPolicy
from faststream.nats import JStream, PullSub
from nats.js.api import ConsumerConfig

from deploy.embedded.testing_servers import NatsServer
from shared import dispatch, inbox
from shared.bus import PULL_SECONDS, Bus
from shared.db import Connection
from shared.events.training import TrainingCompleted
from shared.handlers import Handlers
from shared.settings import ServiceSettings
from shared.work import Work
from tests.faults.mixed import promises
from tests.faults.mixed.journal import Journal
from tests.integration.counted import effects, prepare
from tests.integration.running import Running, running

SEED, EVENTS = 20261128, 30


@dataclass
class Trouble:
    """The tasks whose first handling fails as if the database had gone."""

    tasks: set[str] = field(default_factory=set)


async def on_training_completed(event: TrainingCompleted, work: Work[Trouble]) -> None:
    await work.tx.execute("INSERT INTO effects VALUES ($1)", event.task_id)
    if event.task_id in work.parts.tasks:
        work.parts.tasks.remove(event.task_id)
        raise ConnectionResetError("as when a connection is cut")


HANDLERS = Handlers("registry", events={TrainingCompleted: on_training_completed})


@pytest.fixture
def trouble() -> Trouble:
    return Trouble()


@pytest.fixture
async def registry(
    nats: NatsServer, settings_of: Callable[[str], ServiceSettings], trouble: Trouble
) -> AsyncIterator[Running]:
    async with running(HANDLERS, trouble, settings_of("registry"), nats) as started:
        await prepare(started)
        yield started


async def disturb(registry: Running, trouble: Trouble, journal: Journal) -> list[str]:
    """Publish events, some of them again under another identity for the stream, and say what is wrong then."""
    chance = random.Random(SEED)
    tasks = [f"t{number}" for number in range(EVENTS)]
    trouble.tasks.update(chance.sample(tasks, EVENTS // 3))
    for task in tasks:
        journal.write("asked", name=task)
        envelope = await registry.publish(TrainingCompleted(task_id=task))
        journal.write("acknowledged", name=task)
        if chance.random() < 0.3:
            await registry.publish(TrainingCompleted(task_id=task), id=envelope.id)
    await registry.settled()
    acknowledged = [line["name"] for line in journal.read("acknowledged")]
    return promises.effects("event", acknowledged, await effects(registry))


async def test_by_our_own_rules_no_promise_is_broken(registry: Running, trouble: Trouble, tmp_path: Path) -> None:
    assert await disturb(registry, trouble, Journal(tmp_path / "history.jsonl")) == []
    assert await registry.dead_letters() == 0


async def test_without_the_inbox_second_effects_are_seen(
    registry: Running, trouble: Trouble, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def take(_: Connection, consumer: str, event_ids: Iterable[str]) -> set[str]:
        return set(event_ids)

    monkeypatch.setattr(inbox, "take", take)
    wrong = await disturb(registry, trouble, Journal(tmp_path / "history.jsonl"))
    assert wrong and all(each.startswith("twice") for each in wrong)


@pytest.fixture
def by_default(monkeypatch: pytest.MonkeyPatch) -> None:
    """Messages acknowledged as FastStream does it where nothing else is said: refused for good at the first error."""

    def pull_subscriber(bus: Bus, stream: str, consumer: ConsumerConfig, workers: int) -> Any:
        return bus.broker.subscriber(
            "",
            stream=JStream(stream, declare=False),
            durable=consumer.durable_name,
            config=consumer,
            pull_sub=PullSub(batch_size=workers, timeout=PULL_SECONDS),
            max_workers=workers,
            inbox_prefix=f"_INBOX_{bus.service}.".encode(),
            ack_policy=AckPolicy.REJECT_ON_ERROR,
        )

    async def leave_alone(*_: Any, **__: Any) -> bool:
        return False

    monkeypatch.setattr(Bus, "pull_subscriber", pull_subscriber)
    monkeypatch.setattr(dispatch._Settle, "after_processed", leave_alone)


async def test_by_the_default_policy_losses_are_seen(
    by_default: None, registry: Running, trouble: Trouble, tmp_path: Path
) -> None:
    failing = EVENTS // 3
    wrong = await disturb(registry, trouble, Journal(tmp_path / "history.jsonl"))
    assert len(wrong) <= failing and any(each.startswith("lost") for each in wrong)
