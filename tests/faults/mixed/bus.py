"""What a mixed run does to the bus itself, as its administrator."""

import asyncio
import random
from collections.abc import Awaitable, Callable
from typing import Any
from uuid import uuid4

import nats
import nats.errors
import nats.js.errors
from nats.js import JetStreamContext

from deploy.provision import declarations, provision_bus
from shared.streams import Declaration
from tests.faults.mixed.site import Site

AWAY = (OSError, TimeoutError, nats.errors.Error, nats.js.errors.Error)
POISON = "poison-"
RECENT, MANY, FEW = 40, 20, 4
WINDOW_SECONDS = 130.0


def on_bus(site: Site, act: Callable[[JetStreamContext], Awaitable[Any]]) -> Any:
    """Raises one of AWAY where the bus does not do it soon."""

    async def connected() -> Any:
        async with asyncio.timeout(8):
            connection = await nats.connect(
                site.stack.info["nats"], connect_timeout=2, max_reconnect_attempts=0, allow_reconnect=False
            )
            try:
                return await act(connection.jetstream(timeout=3))
            finally:
                await connection.close()

    return asyncio.run(connected())


def provision(site: Site) -> None:
    provision_bus(site.stack.plan.bus_admin_url)


async def _recent(js: JetStreamContext, count: int) -> list[Any]:
    state = (await js.stream_info("EVT")).state
    found = [
        await js.get_msg("EVT", seq)
        for seq in range(max(state.first_seq, state.last_seq - count + 1), state.last_seq + 1)
    ]
    return [message for message in found if not _is_poison(message)]


def _is_poison(message: Any) -> bool:
    return str((message.headers or {}).get("Nats-Msg-Id", "")).startswith(POISON)


def said_headers(message: Any) -> dict[str, str]:
    """Without the place in the batch that it came with, which one message by itself has not."""
    return {name: value for name, value in (message.headers or {}).items() if not name.startswith("Nats-Batch-")}


async def _publish(js: JetStreamContext, message: Any, **headers: str) -> bool:
    """Whether the stream took it for a repeat."""
    ack = await js.publish(message.subject, message.data, headers=said_headers(message) | headers)
    return bool(ack.duplicate)


def repeat_soon(site: Site, chance: random.Random) -> str:
    """With the same identity at once: the stream's own window knows it."""

    async def act(js: JetStreamContext) -> str:
        found = await _recent(js, FEW)
        known = [await _publish(js, message) for message in found]
        return f"{len(found)} events, {sum(known)} of them known to the stream"

    return str(on_bus(site, act))


def repeat_late(site: Site, chance: random.Random) -> str:
    """With the same identity once the window has forgotten it; before that with another one, for the stream alone."""

    async def act(js: JetStreamContext) -> str:
        state = (await js.stream_info("EVT")).state
        message = await js.get_msg("EVT", chance.randint(state.first_seq, state.last_seq))
        if _is_poison(message):
            return "none: it was poison"
        known = await _publish(js, message)
        if known:
            await _publish(js, message, **{"Nats-Msg-Id": f"late-{uuid4()}"})
        return "by another identity" if known else "by its own identity"

    return str(on_bus(site, act))


def reorder(site: Site, chance: random.Random) -> str:
    async def act(js: JetStreamContext) -> str:
        found = await _recent(js, MANY)
        chance.shuffle(found)
        for message in found:
            await _publish(js, message, **{"Nats-Msg-Id": f"late-{uuid4()}"})
        return f"{len(found)} events"

    return str(on_bus(site, act))


def poison(site: Site, chance: random.Random) -> str:
    """What nobody can read, where services hear."""

    async def act(js: JetStreamContext) -> str:
        subject = chance.choice(hearable())
        body = chance.choice((b"\xff\xfe not json", b"{}", b"[]", b""))
        headers = {"Nats-Msg-Id": f"{POISON}{uuid4()}"}
        if chance.random() < 0.5:
            headers |= {"ce-specversion": "1.0", "ce-id": "1", "ce-source": "chaos", "ce-type": "no.such.type"}
        await js.publish(subject, body, headers=headers)
        return subject

    return str(on_bus(site, act))


def hearable() -> list[str]:
    """Subjects of EVT that somebody hears."""
    heard = {event.subject("default") for one in declarations() for event in one.hears if event.stream == "EVT"}
    return sorted(heard)


def hearers(subject: str, declared: list[Declaration]) -> list[str]:
    """The services that hear what comes by this subject."""
    return [
        one.service
        for one in declared
        if any(event.stream == "EVT" and event.subject(subject.split(".")[1]) == subject for event in one.hears)
    ]


def delete_consumer(site: Site, chance: random.Random) -> str:
    async def act(js: JetStreamContext) -> str:
        service = chance.choice([one.service for one in declarations() if "EVT" in one.wildcards()])
        await js.delete_consumer("EVT", service)
        return f"EVT/{service}"

    return str(on_bus(site, act))


def fill_stream(site: Site, chance: random.Random) -> str:
    """It has room for hardly more than it holds."""

    async def act(js: JetStreamContext) -> str:
        info = await js.stream_info("EVT")
        await js.update_stream(info.config, max_bytes=info.state.bytes + 2048)
        return f"EVT at {info.state.bytes} bytes"

    return str(on_bus(site, act))
