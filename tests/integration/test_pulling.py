"""Pulling from a durable consumer of a real NATS."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import nats as nats_client
import pytest
from nats.js.api import ConsumerConfig, StreamConfig

from deploy.embedded.testing_servers import NatsServer
from shared.pulling import Pulling, PullingJetStream

SECONDS = 2.0
ACK_WAIT = 600.0
PATIENCE = 60.0


@pytest.fixture
async def stream(nats: NatsServer) -> AsyncIterator[PullingJetStream]:
    connection = await nats_client.connect(nats.url, reconnect_time_wait=0.1)
    made = PullingJetStream(connection, timeout=PATIENCE)
    await made.add_stream(StreamConfig(name="S", subjects=["s.>"]))
    await made.add_consumer("S", ConsumerConfig(durable_name="d", ack_wait=ACK_WAIT))
    yield made
    await connection.close()


async def pulling(stream: PullingJetStream) -> Pulling:
    found: Pulling = await stream.pull_subscribe("", durable="d", stream="S")
    return found


async def received(from_: Pulling, count: int, batch: int = 8, ack: bool = True) -> list[str]:
    found: list[str] = []
    async with asyncio.timeout(PATIENCE):
        while len(found) < count:
            try:
                messages = await from_.fetch(batch, SECONDS)
            except TimeoutError:
                continue
            for message in messages:
                found.append(message.data.decode())
                if ack:
                    await message.ack_sync(timeout=PATIENCE)
    return found


async def publish(stream: PullingJetStream, first: int, count: int) -> list[str]:
    names = [str(number) for number in range(first, first + count)]
    for name in names:
        await stream.publish("s.x", name.encode())
    return names


async def connected(stream: PullingJetStream, wanted: bool) -> None:
    async with asyncio.timeout(PATIENCE):
        while stream._nc.is_connected is not wanted:
            await asyncio.sleep(0.02)


async def test_everything_comes_once_and_in_order(stream: PullingJetStream) -> None:
    sent = await publish(stream, 0, 50)
    subscription = await pulling(stream)
    assert await received(subscription, 50) == sent
    info = await stream.consumer_info("S", "d")
    assert (info.num_pending, info.num_ack_pending, info.num_redelivered) == (0, 0, 0)


async def test_one_message_of_a_batch_is_given_while_the_others_are_waited_for(stream: PullingJetStream) -> None:
    subscription = await pulling(stream)
    waiting = asyncio.create_task(subscription.fetch(8, PATIENCE))
    await asyncio.sleep(0.1)
    await publish(stream, 0, 1)
    async with asyncio.timeout(PATIENCE / 2):
        assert [message.data for message in await waiting] == [b"0"]


async def test_a_pull_ends_and_the_next_one_follows(stream: PullingJetStream) -> None:
    subscription = await pulling(stream)
    for _ in range(2):
        with pytest.raises(TimeoutError):
            await subscription.fetch(8, 0.2)
    sent = await publish(stream, 0, 3)
    assert await received(subscription, 3) == sent


async def test_a_bus_that_was_killed_is_pulled_from_again(stream: PullingJetStream, nats: NatsServer) -> None:
    subscription = await pulling(stream)
    waiting: asyncio.Task[Any] = asyncio.create_task(received(subscription, 3))
    await asyncio.sleep(0.1)
    nats.kill()
    await connected(stream, False)
    nats.start()
    await connected(stream, True)
    assert await publish(stream, 0, 3) == await waiting


async def test_what_was_not_settled_is_given_back_at_once(stream: PullingJetStream) -> None:
    """Well before the consumer's ack wait is over, which is longer than this test has patience."""
    sent = await publish(stream, 0, 6)
    first = await pulling(stream)
    given = (await first.fetch(4, SECONDS)) + (await first.fetch(4, SECONDS))
    await given[0].ack_sync(timeout=PATIENCE)
    await first.unsubscribe()
    assert sorted(await received(await pulling(stream), 5)) == sent[1:]


async def test_a_deleted_consumer_does_not_make_it_spin(stream: PullingJetStream) -> None:
    subscription = await pulling(stream)
    waiting = asyncio.create_task(subscription.fetch(8, SECONDS))
    await asyncio.sleep(0.1)
    await stream.delete_consumer("S", "d")
    with pytest.raises(TimeoutError):
        await waiting
    await stream.add_consumer("S", ConsumerConfig(durable_name="d", ack_wait=ACK_WAIT))
    sent = await publish(stream, 0, 2)
    assert await received(subscription, 2) == sent
