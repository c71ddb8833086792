"""A database that ends at once, cuts all its connections or stands behind a lock: callers hear it, and all heals."""

import signal
from collections.abc import AsyncIterator, Callable
from functools import partial

import nats as nats_client
import psycopg
import pytest
from nats.js.api import ConsumerConfig

from deploy.embedded.testing_servers import NatsServer, PostgresServer
from shared.errors import Unavailable
from shared.events.training import TrainingCompleted
from shared.settings import ServiceSettings
from tests.conftest import DatabaseUrls
from tests.integration.counted import HANDLERS, Pace, effects, prepare, said, say, troubled, well
from tests.integration.running import DEADLINE, Running, running, until

OURS = "FROM pg_stat_activity WHERE datname = %s AND usename = 'registry'"
LOCKED = "LOCK TABLE registry.effects IN ACCESS EXCLUSIVE MODE"


@pytest.fixture
async def registry(nats: NatsServer, settings_of: Callable[[str], ServiceSettings]) -> AsyncIterator[Running]:
    async with running(HANDLERS, Pace(), settings_of("registry"), nats) as started:
        await prepare(started)
        yield started


async def test_one_that_ends_at_once_loses_nothing_committed(registry: Running, postgres: PostgresServer) -> None:
    tasks = [f"t{number}" for number in range(20)]
    await say(registry, *tasks)
    assert postgres.process is not None
    postgres.process.send_signal(signal.SIGQUIT)
    postgres.process.wait()
    await troubled(registry, "database")
    with pytest.raises(Unavailable):
        await say(registry, "never")
    await registry.publish(TrainingCompleted(task_id="meanwhile"))
    postgres.start()
    await well(registry)
    await registry.settled()
    assert await effects(registry) == {"meanwhile": 1}
    assert sorted(set(await said(registry))) == sorted(tasks)


async def test_all_connections_are_cut_and_come_back(
    registry: Running, postgres: PostgresServer, database_urls: DatabaseUrls
) -> None:
    with psycopg.connect(postgres.dsn, autocommit=True) as admin:
        for turn in range(3):
            cut = admin.execute(f"SELECT pg_terminate_backend(pid) {OURS}", [database_urls.name]).fetchall()
            assert cut
            await registry.publish(TrainingCompleted(task_id=f"t{turn}"))
            await until(partial(_has_effect, registry, f"t{turn}"))
    await well(registry)
    assert await effects(registry) == {f"t{turn}": 1 for turn in range(3)}
    await say(registry, "after")
    assert await said(registry) == ["after"]


async def _has_effect(registry: Running, task: str) -> bool:
    try:
        return task in await effects(registry)
    except Unavailable:
        return False


async def test_a_lock_that_is_held_stops_nobody_else(
    registry: Running, postgres: PostgresServer, database_urls: DatabaseUrls
) -> None:
    """As many events as the pool has connections wait for the lock; each gives up, and none of them is lost."""
    many = [f"t{number}" for number in range(registry.service.settings.database_pool)]
    with psycopg.connect(postgres.dsn_for(database_urls.name)) as holder:
        holder.execute(LOCKED)
        for task in many:
            await registry.publish(TrainingCompleted(task_id=task))
        with pytest.raises(Unavailable, match="busy"):
            await registry.rows("SELECT * FROM effects")
        assert await registry.rows("SELECT 1 AS one") == [{"one": 1}]
        assert registry.service.readiness.problems() == {}
    await registry.settled()
    assert await effects(registry) == dict.fromkeys(many, 1)
    assert await registry.dead_letters() == 0


async def test_what_failed_without_the_database_comes_again_soon(
    registry: Running, postgres: PostgresServer, nats: NatsServer
) -> None:
    """Well before its consumer's time to acknowledge is over, though the attempt cannot be counted."""
    assert registry.service.dispatcher is not None
    connection = await nats_client.connect(nats.url)
    await registry.publish(TrainingCompleted(task_id="t"))
    await registry.settled()
    subscription = await connection.jetstream().pull_subscribe(
        "evt.>", "another", config=ConsumerConfig(ack_wait=10 * DEADLINE)
    )
    message = (await subscription.fetch(1))[0]
    postgres.kill()
    await registry.service.dispatcher.settle(message, Unavailable("no database"))
    again = (await subscription.fetch(1, timeout=DEADLINE))[0]
    assert (again.data, again.metadata.num_delivered) == (message.data, 2)
    postgres.start()
    await well(registry)
    await connection.close()
