"""A bus that is killed, full, stripped of its consumers, flooded or given too much: nothing is lost or done twice."""

from collections.abc import AsyncIterator, Callable
from typing import Any

import nats as nats_client
import psutil
import pytest

from deploy.embedded.testing_servers import NatsServer
from deploy.provision import provision_bus_over
from shared import observe, outbox
from shared.context import Context
from shared.events.training import TrainingCompleted, TrainingFailed
from shared.settings import ServiceSettings
from shared.work import Outgoing
from tests.integration.counted import HANDLERS, Pace, effects, prepare, said, say, troubled, well
from tests.integration.running import Running, running, until

KILLS = 5
ALL_KILLS = 100
FLOOD = 10_000
MIB = 1024 * 1024


@pytest.fixture
def pace() -> Pace:
    return Pace()


@pytest.fixture
async def registry(
    nats: NatsServer, settings_of: Callable[[str], ServiceSettings], pace: Pace
) -> AsyncIterator[Running]:
    async with running(HANDLERS, pace, settings_of("registry"), nats) as started:
        await prepare(started)
        yield started


@pytest.mark.parametrize("kills", [KILLS, pytest.param(ALL_KILLS, marks=[pytest.mark.slow, pytest.mark.timeout(900)])])
async def test_killed_again_and_again_it_loses_nothing(registry: Running, nats: NatsServer, kills: int) -> None:
    """What it acknowledged it holds, and what it did not is published once it is back, each in its order."""
    tasks = [f"t{number}" for number in range(3 * kills)]
    for turn in range(kills):
        await say(registry, tasks[3 * turn])
        nats.kill()
        await say(registry, tasks[3 * turn + 1])
        nats.start()
        await say(registry, tasks[3 * turn + 2])
        await until(registry._outbox_is_empty)
    assert list(dict.fromkeys(sorted(await said(registry), key=_number))) == tasks


def _number(task: str) -> int:
    return int(task[1:])


async def test_a_deleted_consumer_and_a_deleted_stream_are_noticed_and_made_again(
    registry: Running, nats: NatsServer
) -> None:
    await registry.js.delete_consumer("EVT", "registry")
    assert "does not exist" in await troubled(registry, "consumer EVT")
    await provision_bus_over(nats.url, [HANDLERS.declaration])
    await well(registry)
    await registry.publish(TrainingCompleted(task_id="first"))
    await registry.settled()
    await registry.js.delete_stream("EVT")
    assert await troubled(registry, "consumer EVT")
    await say(registry, "kept")
    await provision_bus_over(nats.url, [HANDLERS.declaration])
    await well(registry)
    await registry.publish(TrainingCompleted(task_id="second"))
    await registry.settled()
    assert await effects(registry) == {"first": 1, "second": 1}
    assert await said(registry) == ["kept"]


async def test_a_stream_that_is_another_than_declared_is_noticed_while_the_service_runs(
    registry: Running, nats: NatsServer
) -> None:
    """As after a start of a bus that forgot a change."""
    declared = (await registry.js.stream_info("EVT")).config
    await registry.js.update_stream(declared.evolve(max_bytes=1 * MIB))
    assert "max_bytes is 1 MiB, expected 512 MiB: run" in await troubled(registry, "stream EVT")
    await provision_bus_over(nats.url, [HANDLERS.declaration])
    await well(registry)


async def test_repeats_inside_and_past_the_window_have_one_effect(registry: Running) -> None:
    """Inside it the stream drops the repeat; past it, here two seconds, the inbox does."""
    config = (await registry.js.stream_info("EVT")).config
    await registry.js.update_stream(config, duplicate_window=2.0)
    event = TrainingCompleted(task_id="t")
    headers = {"ce-specversion": "1.0", "ce-id": "1", "ce-source": "test", "ce-subject": "training/t"}
    headers |= {"ce-type": event.type_name(), "Nats-Msg-Id": "1"}

    async def publish() -> Any:
        return await registry.js.publish(event.subject("default"), event.model_dump_json().encode(), headers=headers)

    first, dropped = await publish(), await publish()
    assert (first.duplicate, dropped.duplicate, dropped.seq) == (None, True, first.seq)

    async def stored_again() -> Any:
        return (again := await publish()).duplicate is None and again

    stored = await until(stored_again)
    registry.published["EVT"] = stored.seq
    await registry.settled()
    assert stored.seq > first.seq
    assert await effects(registry) == {"t": 1}


async def test_a_slow_consumer_shows_its_lag_and_holds_no_more_than_its_share(
    registry: Running, pace: Pace, nats: NatsServer
) -> None:
    pace.seconds = 1.0
    before = psutil.Process().memory_info().rss
    connection = await nats_client.connect(nats.url)
    stream, event = connection.jetstream(publish_async_max_pending=256), TrainingCompleted(task_id="t")
    for number in range(FLOOD):
        headers = {"ce-specversion": "1.0", "ce-id": str(number), "ce-source": "test", "ce-subject": "training/t"}
        headers |= {"ce-type": event.type_name()}
        await stream.publish_async(event.subject("default"), event.model_dump_json().encode(), headers=headers)
    await stream.publish_async_completed()
    await connection.close()

    async def lag() -> bool:
        waiting = observe.CONSUMER_PENDING.labels("registry", "EVT")._value.get()
        return bool(waiting > FLOOD * 0.8)

    await until(lag)
    assert registry.service.readiness.problems() == {}
    in_hand = (await registry.js.consumer_info("EVT", "registry")).num_ack_pending
    assert in_hand is not None and 0 < in_hand <= 64
    assert psutil.Process().memory_info().rss - before < 64 * MIB


async def test_a_message_too_large_is_dead_and_holds_nobody_up(registry: Running) -> None:
    database = registry.service.database
    assert database is not None
    large = Outgoing("training/large", TrainingFailed.subject("default"), b"x" * (MIB + 1), {"ce-type": "large"})
    await say(registry, "before")
    async with database.transaction() as tx:
        await outbox.write(tx, [large], Context(), "registry")
    await say(registry, "after")

    async def all_tried() -> bool:
        return not await registry.rows("SELECT 1 FROM outbox WHERE published_at IS NULL AND dead_at IS NULL")

    await until(all_tried)
    dead = await registry.rows("SELECT last_error FROM outbox WHERE dead_at IS NOT NULL")
    assert len(dead) == 1 and "MaxPayload" in dead[0]["last_error"]
    assert (await registry.js.stream_info("EVT")).state.messages == 2

    async def shown() -> bool:
        return bool(observe.OUTBOX_DEAD.labels("registry")._value.get() == 1)

    await until(shown)
    assert registry.service.readiness.problems() == {}


async def test_without_space_events_stay_in_the_outbox_until_there_is_some(registry: Running) -> None:
    """The space is that of the stream, which refuses what is new."""
    config = (await registry.js.stream_info("EVT")).config
    await registry.js.update_stream(config, max_bytes=4096)
    tasks = [f"t{number}" for number in range(40)]
    await say(registry, *tasks)

    async def refused() -> bool:
        return bool(await registry.rows("SELECT 1 FROM outbox WHERE published_at IS NULL AND last_error <> ''"))

    await until(refused)
    kept = (await registry.js.stream_info("EVT")).state.messages
    assert 0 < kept < len(tasks)
    assert await registry.rows("SELECT 1 FROM outbox WHERE dead_at IS NOT NULL") == []
    await registry.js.update_stream(config)
    assert sorted(await said(registry)) == sorted(tasks)
