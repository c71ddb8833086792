"""Dead letters: what a service gave up on is shown whole, goes to it alone once more, or is discarded with a reason."""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from deploy.embedded.testing_servers import NatsServer
from deploy.provision import provision_bus_over
from services.monitor.app import build
from services.monitor.dead_letters.collector import Collector
from services.monitor.handlers import HANDLERS
from services.monitor.settings import Settings
from shared.errors import Conflict, InvalidInput, NotFound
from shared.events.bus import DeadLetterDiscarded, DeadLetterReplayed
from shared.events.training import TrainingCompleted
from shared.handlers import Handlers
from shared.reading import StreamReader
from shared.rpc.monitor import (
    DeadLetter,
    DiscardDeadLetter,
    GetDeadLetter,
    ListDeadLetters,
    ReplayDeadLetter,
    ReplayDeadLetters,
)
from shared.settings import ServiceSettings
from shared.work import Work
from tests.integration.running import Ask, Running, asking, guarded_bus, running, running_service, until


@dataclass
class Consumer:
    """A service that fails as it is told."""

    handled: list[str] = field(default_factory=list)
    failures: list[Exception] = field(default_factory=list)


async def on_training_completed(event: TrainingCompleted, work: Work[Consumer]) -> None:
    if work.parts.failures:
        raise work.parts.failures.pop(0)
    work.parts.handled.append(event.task_id)


REGISTRY = Handlers("registry", events={TrainingCompleted: on_training_completed})


@pytest.fixture
def nats(tmp_path: Path) -> Iterator[NatsServer]:
    with guarded_bus(tmp_path / "nats", HANDLERS) as server:
        yield server


@pytest.fixture
def consumer() -> Consumer:
    return Consumer()


@pytest.fixture
async def bus(
    nats: NatsServer, settings_of: Callable[[str], ServiceSettings], consumer: Consumer
) -> AsyncIterator[Running]:
    """monitor and the consumer on one bus; what is published goes to both."""
    service = build(Settings.model_validate(settings_of("monitor").model_dump()))
    async with AsyncExitStack() as stack:
        await stack.enter_async_context(running(REGISTRY, consumer, settings_of("registry"), nats))
        yield await stack.enter_async_context(running_service(service, HANDLERS, nats))


@pytest.fixture
async def ask(nats: NatsServer, bus: Running) -> AsyncIterator[Ask]:
    async with asking(nats) as ask:
        yield ask


async def letters(ask: Ask, count: int, **asked: Any) -> list[DeadLetter]:
    async def found() -> list[DeadLetter]:
        listed: list[DeadLetter] = (await ask(ListDeadLetters(**asked))).letters
        return listed if len(listed) == count else []

    answer: list[DeadLetter] = await until(found)
    return answer


async def test_a_letter_tells_all(bus: Running, ask: Ask, consumer: Consumer) -> None:
    consumer.failures.append(InvalidInput("the accuracy is no number", field="metrics"))
    trace = f"00-{1:032x}-{1:016x}-00"
    sent = await bus.publish(TrainingCompleted(task_id="t1"), correlation_id="c1", traceparent=trace)
    (letter,) = await letters(ask, 1)
    assert (letter.service, letter.state, letter.event_id, letter.deliveries) == ("registry", "waiting", sent.id, 1)
    assert (letter.type, letter.correlation_id) == (TrainingCompleted.type_name(), "c1")
    assert (letter.error_class, letter.error) == ("InvalidInput", "the accuracy is no number")
    content = await ask(GetDeadLetter(letter_id=letter.id))
    assert TrainingCompleted.model_validate_json(content.payload).task_id == "t1"
    assert "raise work.parts.failures.pop(0)" in content.stack
    assert content.traceparent == trace
    assert content.headers["ce-id"] == sent.id
    assert not [name for name in content.headers if "error" in name]


async def test_what_is_no_text_is_shown_too(bus: Running, ask: Ask) -> None:
    await bus.js.publish("evt.default.training.v1.training_completed", b"\xff\x00", headers={"ce-id": "x"})
    (letter,) = await letters(ask, 1, of="registry")
    content = await ask(GetDeadLetter(letter_id=letter.id))
    assert (content.payload, content.encoding) == ("/wA=", "base64")


async def test_a_replay_goes_to_the_one_that_failed(bus: Running, ask: Ask, consumer: Consumer) -> None:
    consumer.failures.append(InvalidInput("not now"))
    await bus.publish(TrainingCompleted(task_id="t1"))
    (letter,) = await letters(ask, 1)
    consumer.failures.append(RuntimeError("once more"))
    replayed = await ask(ReplayDeadLetter(letter_id=letter.id))
    assert (replayed.state, replayed.decided_by) == ("replayed", "ada")

    async def handled() -> bool:
        return consumer.handled == ["t1"]

    await until(handled)
    (said,) = await bus.said(DeadLetterReplayed)
    assert (said.letter_id, said.service, said.actor) == (letter.id, "registry", "ada")
    events = "SELECT count(*) AS count FROM timeline WHERE type = $1"
    assert (await bus.rows(events, TrainingCompleted.type_name()))[0]["count"] == 1
    with pytest.raises(Conflict, match="replayed already"):
        await ask(ReplayDeadLetter(letter_id=letter.id))


async def test_what_was_tried_too_often_may_be_tried_anew(bus: Running, ask: Ask, consumer: Consumer) -> None:
    """The count of failures of unknown cause begins again, so one more does not end it."""
    consumer.failures += [RuntimeError("a bug")] * 5
    await bus.publish(TrainingCompleted(task_id="t1"))
    (letter,) = await letters(ask, 1)
    assert letter.deliveries == 5
    consumer.failures.append(RuntimeError("a bug"))
    await ask(ReplayDeadLetter(letter_id=letter.id))

    async def handled() -> bool:
        return consumer.handled == ["t1"]

    await until(handled)
    assert [found.state for found in await letters(ask, 1)] == ["replayed"]


async def test_what_fails_again_is_a_letter_of_its_own(bus: Running, ask: Ask, consumer: Consumer) -> None:
    consumer.failures += [InvalidInput("first"), InvalidInput("second")]
    await bus.publish(TrainingCompleted(task_id="t1"))
    (letter,) = await letters(ask, 1)
    await ask(ReplayDeadLetter(letter_id=letter.id))
    again, before = await letters(ask, 2)
    assert (again.state, again.error, before.state, before.error) == ("waiting", "second", "replayed", "first")
    assert again.subject == before.subject
    await ask(ReplayDeadLetter(letter_id=again.id))

    async def handled() -> bool:
        return consumer.handled == ["t1"]

    await until(handled)


async def test_many_at_once(bus: Running, ask: Ask, consumer: Consumer) -> None:
    names = [f"t{number}" for number in range(5)]
    consumer.failures += [InvalidInput("no") for _ in names]
    for name in names:
        await bus.publish(TrainingCompleted(task_id=name))
    await letters(ask, 5, state="waiting")
    assert not (await ask(ReplayDeadLetters(of="registry", type="VersionPromoted"))).ids
    assert len((await ask(ReplayDeadLetters(of="registry", type="TrainingCompleted"))).ids) == 5

    async def handled() -> bool:
        return sorted(consumer.handled) == names

    await until(handled)
    assert (await ask(ListDeadLetters(state="waiting"))).waiting == 0


async def test_a_letter_is_discarded_with_a_reason(bus: Running, ask: Ask, consumer: Consumer) -> None:
    consumer.failures.append(InvalidInput("no"))
    await bus.publish(TrainingCompleted(task_id="t1"))
    (letter,) = await letters(ask, 1)
    shown = await ask(DiscardDeadLetter(letter_id=letter.id, reason="a test's"))
    assert (shown.state, shown.reason, shown.decided_by) == ("discarded", "a test's", "ada")
    (said,) = await bus.said(DeadLetterDiscarded)
    assert (said.reason, said.actor) == ("a test's", "ada")
    with pytest.raises(Conflict, match="discarded already"):
        await ask(ReplayDeadLetter(letter_id=letter.id))
    assert consumer.handled == []


async def test_another_project_sees_nothing(bus: Running, ask: Ask, consumer: Consumer) -> None:
    consumer.failures.append(InvalidInput("no"))
    await bus.publish(TrainingCompleted(task_id="t1"))
    (letter,) = await letters(ask, 1)
    assert not (await ask(ListDeadLetters(), project="other")).letters
    for request in (GetDeadLetter, ReplayDeadLetter):
        with pytest.raises(NotFound):
            await ask(request(letter_id=letter.id), project="other")
    assert not (await ask(ReplayDeadLetters(of="registry"), project="other")).ids


async def test_what_is_heard_again_dies_once(bus: Running, ask: Ask, nats: NatsServer, consumer: Consumer) -> None:
    """A consumer that was lost is made anew and hears all, long after the bus has forgotten the letter's identity."""
    config = (await bus.js.stream_info("DLQ")).config
    await bus.js.update_stream(config, duplicate_window=0.1)
    await bus.js.publish("evt.default.training.v1.training_completed", b"poison", headers={"ce-id": "x"})
    await letters(ask, 1, of="registry")
    dead = await bus.dead_letters()
    await bus.js.delete_consumer("EVT", "registry")
    await provision_bus_over(nats.url, [REGISTRY.declaration])
    await bus.publish(TrainingCompleted(task_id="after"))

    async def handled() -> bool:
        return consumer.handled == ["after"]

    await until(handled)
    assert await bus.dead_letters() == dead


async def test_a_letter_that_lies_there_twice_is_read_once(bus: Running, ask: Ask, consumer: Consumer) -> None:
    """It does not hold up those behind it, nor is it read without end."""
    consumer.failures.append(InvalidInput("no"))
    await bus.publish(TrainingCompleted(task_id="t1"))
    (letter,) = await letters(ask, 1)
    await bus.js.update_stream((await bus.js.stream_info("DLQ")).config, duplicate_window=0.1)
    assert bus.service.database
    collector = Collector(bus.service.database, StreamReader(bus.service.bus, "DLQ"))
    for _ in range(2):
        await asyncio.sleep(0.3)
        headers = {"Nats-Msg-Id": f"dlq-{letter.id}", "aimass-subject": letter.subject}
        await bus.js.publish("dlq.registry", b"{}", headers=headers)
    assert await collector.collect() == 2
    assert await collector.collect() == 0
    await letters(ask, 1)
