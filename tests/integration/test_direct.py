"""The data plane's connection on a real bus: in order, once, and past whatever a listener raises."""

import asyncio
from collections.abc import AsyncIterator

import pytest
from nats import errors as nats_errors
from pydantic import SecretStr

from deploy.embedded.testing_servers import NatsServer
from shared import bus
from shared.bus import settle
from shared.direct import Arrived, DirectClient
from shared.settings import ServiceSettings
from tests.integration.running import until


@pytest.fixture
async def client(nats: NatsServer) -> AsyncIterator[DirectClient]:
    settings = ServiceSettings(nats_url=nats.servers, nats_user="gateway", nats_password=SecretStr("password"))
    found = await bus.connect("gateway", settings)
    yield found
    await found.close()


async def heard(got: list[Arrived], count: int) -> list[bytes]:
    async def enough() -> bool:
        return len(got) >= count

    await until(enough)
    return [message.data for message in got]


async def test_messages_come_in_order_and_carry_where_to_reply(client: DirectClient) -> None:
    got: list[Arrived] = []
    await client.listen("infer.a", got.append)
    sent = [bytes([number]) * number * 1000 for number in range(100)]
    for data in sent:
        client.send("infer.a", data, "inferred.here")
    assert await heard(got, 100) == sent
    assert {(message.subject, message.reply) for message in got} == {("infer.a", "inferred.here")}


async def test_what_a_listener_raises_ends_nothing(client: DirectClient) -> None:
    got: list[Arrived] = []

    def listener(message: Arrived) -> None:
        got.append(message)
        raise ValueError(message.data)

    await client.listen("infer.a", listener)
    for data in (b"1", b"2"):
        client.send("infer.a", data)
    assert await heard(got, 2) == [b"1", b"2"]


async def test_nothing_comes_after_the_subscription_ended(client: DirectClient) -> None:
    ended: list[Arrived] = []
    other: list[Arrived] = []
    subscription = await client.listen("infer.a", ended.append)
    await client.listen("infer.b", other.append)
    await subscription.unsubscribe()
    for subject in ("infer.a", "infer.b"):
        client.send(subject, b"late")
    assert await heard(other, 1) == [b"late"]
    assert ended == []


async def test_who_stops_listening_still_hears_what_was_on_its_way(client: DirectClient, nats: NatsServer) -> None:
    got: list[Arrived] = []
    settings = ServiceSettings(nats_url=nats.servers, nats_user="gateway", nats_password=SecretStr("password"))
    sender = await bus.connect("gateway", settings)
    await client.listen("infer.a", got.append, queue="nodes")
    leaving = await client.listen("infer.a", got.append, queue="nodes")
    await settle(client)
    for number in range(1000):
        sender.send("infer.a", str(number).encode())
    ending = asyncio.create_task(client.unlisten(leaving))
    await asyncio.sleep(0)
    for number in range(1000, 2000):
        sender.send("infer.a", str(number).encode())
    await ending
    assert sorted(map(int, await heard(got, 2000))) == list(range(2000))
    await sender.close()


async def test_it_says_that_nobody_listens(client: DirectClient) -> None:
    got: list[Arrived] = []
    await client.listen("inferred.here", got.append)
    client.send("infer.nobody", b"anyone?", "inferred.here")
    await heard(got, 1)
    assert got[0].is_nobody


async def test_messages_wait_for_the_next_connection(client: DirectClient, nats: NatsServer) -> None:
    got: list[Arrived] = []
    await client.listen("infer.a", got.append)
    await settle(client)
    nats.stop()
    async with asyncio.timeout(60):
        while client.is_connected:
            await asyncio.sleep(0.01)
    client.send("infer.a", b"kept")
    nats.start()
    assert await heard(got, 1) == [b"kept"]
    await client.close()
    with pytest.raises(nats_errors.ConnectionClosedError):
        client.send("infer.a", b"never")
