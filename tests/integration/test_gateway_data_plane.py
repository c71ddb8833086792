"""The gateway's side of the data plane on a real bus: messages are shared, replies find their requests."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from functools import partial
from uuid import UUID

import nats as nats_client
import pytest
from nats.aio.msg import Msg
from pydantic import SecretStr

from deploy.embedded.testing_servers import NatsServer
from services.gateway.open_inference.data_plane import DataPlane, NobodyServes
from shared import bus, frames
from shared.bus import settle
from shared.errors import Unavailable
from shared.settings import ServiceSettings

MODEL = "digits-cnn"
Answering = Callable[[list[frames.Request]], list[list[frames.Reply]]]


def request(number: int, size: int = 10) -> frames.Request:
    return frames.Request(UUID(int=number).bytes, 2**62, number.to_bytes(4, "big") * (size // 4))


def reply(asked: frames.Request) -> frames.Reply:
    return frames.Reply(asked.prediction_id, 200, bytes(asked.body)[:4])


@pytest.fixture
async def plane(nats: NatsServer) -> AsyncIterator[DataPlane]:
    settings = ServiceSettings(nats_url=nats.servers, nats_user="gateway", nats_password=SecretStr("password"))
    found = DataPlane(partial(bus.connect, "gateway", settings), max_in_flight=50)
    await found.run()
    yield found
    await found.close()


@asynccontextmanager
async def serving(nats: NatsServer, answering: Answering) -> AsyncIterator[list[list[frames.Request]]]:
    """Answer each message with as many messages as `answering` says; yields what came, by message."""
    connection = await nats_client.connect(nats.url)
    came: list[list[frames.Request]] = []

    async def answer(message: Msg) -> None:
        came.append(frames.decode_requests(message.data))
        for replies in answering(came[-1]):
            await connection.publish(message.reply, frames.encode_replies(replies))

    await connection.subscribe(f"infer.default.{MODEL}", cb=answer)
    await settle(connection)
    yield came
    await connection.close()


def infer(plane: DataPlane, asked: frames.Request, seconds: float = 10) -> "asyncio.Task[frames.Reply]":
    return asyncio.create_task(plane.infer("default", MODEL, asked, seconds))


async def test_requests_of_one_turn_share_a_message_and_replies_come_in_any_order(
    plane: DataPlane, nats: NatsServer
) -> None:
    def split(requests: list[frames.Request]) -> list[list[frames.Reply]]:
        replies = [reply(asked) for asked in reversed(requests)]
        return [replies[:3], replies[3:], replies[:1]]

    async with serving(nats, split) as came:
        replies = await asyncio.gather(*(infer(plane, request(number)) for number in range(20)))
    assert [int.from_bytes(found.body) for found in replies] == list(range(20))
    assert [len(message) for message in came] == [20]


async def test_what_is_too_large_for_one_message_goes_in_several(plane: DataPlane, nats: NatsServer) -> None:
    async with serving(nats, lambda requests: [[reply(asked) for asked in requests]]) as came:
        replies = await asyncio.gather(*(infer(plane, request(number, 300_000)) for number in range(7)))
    assert [int.from_bytes(found.body) for found in replies] == list(range(7))
    assert [len(message) for message in came] == [3, 3, 1]


async def test_nobody_is_left_to_answer_a_caller_who_has_gone(plane: DataPlane, nats: NatsServer) -> None:
    withdrawn: asyncio.Queue[set[bytes]] = asyncio.Queue()

    async def hear(message: Msg) -> None:
        await withdrawn.put(frames.decode_ids(message.data))

    async with serving(nats, lambda _: []) as came:
        connection = await nats_client.connect(nats.url)
        await connection.subscribe(f"infer.*.{MODEL}.withdrawn", cb=hear)
        await settle(connection)
        waits, gone = infer(plane, request(1)), infer(plane, request(2))
        async with asyncio.timeout(30):
            while not came:
                await asyncio.sleep(0.01)
            gone.cancel()
            assert await withdrawn.get() == {request(2).prediction_id}
        assert not waits.done()
        waits.cancel()
        await connection.close()


async def test_without_anybody_there_all_of_a_message_are_refused_at_once(plane: DataPlane) -> None:
    outcomes = await asyncio.gather(*(infer(plane, request(number)) for number in range(5)), return_exceptions=True)
    assert [type(outcome) for outcome in outcomes] == [NobodyServes] * 5


async def test_one_that_is_late_or_gone_takes_no_other_with_it(plane: DataPlane, nats: NatsServer) -> None:
    def all_but_first(requests: list[frames.Request]) -> list[list[frames.Reply]]:
        return [[reply(asked) for asked in requests[1:]]]

    async with serving(nats, all_but_first) as came:
        late, gone, good = infer(plane, request(0), 0.2), infer(plane, request(1)), infer(plane, request(2))
        await asyncio.sleep(0)
        gone.cancel()
        assert int.from_bytes((await good).body) == 2
        with pytest.raises(TimeoutError):
            await late
    assert [len(message) for message in came] == [2]


async def test_no_more_than_may_be_in_flight(plane: DataPlane, nats: NatsServer) -> None:
    async with serving(nats, lambda _: []):
        waiting = [infer(plane, request(number), 1) for number in range(50)]
        await asyncio.sleep(0)
        with pytest.raises(Unavailable, match="too many"):
            await plane.infer("default", MODEL, request(50), 1)
        outcomes = await asyncio.gather(*waiting, return_exceptions=True)
    assert {type(outcome) for outcome in outcomes} == {TimeoutError}


async def test_a_reply_that_cannot_be_read_ends_no_connection(plane: DataPlane, nats: NatsServer) -> None:
    connection = await nats_client.connect(nats.url)

    async def garbage(message: Msg) -> None:
        (asked,) = frames.decode_requests(message.data)
        await connection.publish(message.reply, b"garbage")
        await connection.publish(message.reply, frames.encode_replies([reply(asked)]))

    await connection.subscribe(f"infer.default.{MODEL}", cb=garbage)
    await settle(connection)
    assert (await infer(plane, request(7))).status == 200
    await connection.close()
