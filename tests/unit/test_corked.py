"""The corked transport: what is written in one turn of the loop leaves at once, in order, and before an end."""

import asyncio
from typing import Any, cast

from services.gateway.corked import CorkedTransport


class Wire:
    """What a socket would be given."""

    def __init__(self) -> None:
        self.writes: list[bytes] = []
        self.closed = False

    def write(self, data: bytes) -> None:
        assert not self.closed
        self.writes.append(data)

    def close(self) -> None:
        self.closed = True

    def is_closing(self) -> bool:
        return self.closed

    def get_extra_info(self, name: str) -> Any:
        return f"the {name}"


def corked(wire: Wire) -> CorkedTransport:
    return CorkedTransport(cast(asyncio.Transport, wire))


async def test_one_write_a_turn() -> None:
    wire = Wire()
    transport = corked(wire)
    for text in (b"head", b"body"):
        transport.write(text)
    assert wire.writes == []
    await asyncio.sleep(0)
    transport.write(b"next")
    await asyncio.sleep(0)
    assert wire.writes == [b"headbody", b"next"]


async def test_closing_sends_first_and_nothing_is_sent_afterwards() -> None:
    wire = Wire()
    transport = corked(wire)
    transport.write(b"last")
    transport.close()
    assert (wire.writes, wire.closed) == ([b"last"], True)
    transport.write(b"late")
    await asyncio.sleep(0)
    assert wire.writes == [b"last"]


async def test_all_else_is_the_transport_s_own() -> None:
    assert corked(Wire()).get_extra_info("peername") == "the peername"
    assert corked(Wire()).is_closing() is False
