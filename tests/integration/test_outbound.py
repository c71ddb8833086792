"""Webhooks do not reach what is inside: neither by address nor by name, and whatever they are redirected to."""

import asyncio
import ssl
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass

import pytest

from deploy.embedded.testing_servers import NatsServer
from services.inference.settings import Settings
from services.inference.webhooks.delivery import Delivery
from shared.errors import InvalidInput
from shared.events.inference import DeliveryAbandoned
from shared.outbound import NotAllowed, Outbound, Unreached
from shared.rpc.inference import CreateWebhook, InferenceView
from shared.sealing import KeyFile
from shared.settings import ServiceSettings
from tests.integration.deferred_desk import Desk, Model, open_desk
from tests.integration.running import until

HOSTS = ("127.0.0.1", "localhost", "2130706433", "0x7f000001", "127.1", "0.0.0.0", "[::1]", "[::ffff:127.0.0.1]")


@dataclass
class Listener:
    """Counts who connects, and answers with what it was given."""

    answer: bytes
    port: int = 0
    connections: int = 0

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        await reader.readuntil(b"\r\n\r\n")
        writer.write(self.answer)
        await writer.drain()
        writer.close()


@asynccontextmanager
async def listening(
    answer: bytes = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", tls: ssl.SSLContext | None = None
) -> AsyncIterator[Listener]:
    listener = Listener(answer)
    server = await asyncio.start_server(listener.serve, "127.0.0.1", 0, ssl=tls)
    listener.port = server.sockets[0].getsockname()[1]
    try:
        yield listener
    finally:
        server.close()
        await server.wait_closed()


@pytest.mark.parametrize("host", HOSTS)
async def test_this_machine_is_not_called(host: str) -> None:
    async with listening() as listener:
        with pytest.raises(NotAllowed):
            await Outbound(5, inside=False).post(f"http://{host}:{listener.port}/", {}, b"{}")
        assert listener.connections == 0


async def test_it_is_where_that_is_allowed() -> None:
    async with listening() as listener:
        assert await Outbound(5, inside=True).post(f"http://localhost:{listener.port}/", {}, b"{}") == 200
        assert listener.connections == 1


async def test_redirects_are_not_followed() -> None:
    async with listening() as other:
        location = f"HTTP/1.1 307 Temporary Redirect\r\nLocation: http://127.0.0.1:{other.port}/\r\n\r\n".encode()
        async with listening(location) as listener:
            assert await Outbound(5, inside=True).post(f"http://127.0.0.1:{listener.port}/", {}, b"{}") == 307
        assert (listener.connections, other.connections) == (1, 0)


@pytest.mark.parametrize("answer", [b"", b"hello\r\n\r\n", b"HTTP/1.1 200"])
async def test_what_is_no_answer(answer: bytes) -> None:
    async with listening(answer) as listener:
        with pytest.raises(Unreached):
            await Outbound(5, inside=True).post(f"http://127.0.0.1:{listener.port}/", {}, b"{}")


async def test_who_is_silent_or_unknown() -> None:
    server = await asyncio.start_server(lambda *_: asyncio.sleep(60), "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    with pytest.raises(Unreached, match="within"):
        await Outbound(0.2, inside=True).post(f"http://127.0.0.1:{port}/", {}, b"{}")
    server.close()
    with pytest.raises(Unreached):
        await Outbound(5, inside=True).post(f"http://127.0.0.1:{port}/", {}, b"{}")
    with pytest.raises(Unreached, match="name"):
        await Outbound(5, inside=False).post("https://nobody.invalid/", {}, b"{}")


@pytest.fixture
async def desk(nats: NatsServer, settings_of: Callable[[str], ServiceSettings]) -> AsyncIterator[Desk]:
    common = settings_of("inference").model_dump()
    settings = Settings(**common, webhook_first_seconds=0.1, webhook_hours=0.5 / 3600)
    async with open_desk(settings, nats) as opened:
        yield opened


async def test_a_name_of_inside_is_given_up_visibly(desk: Desk) -> None:
    """It is accepted as a name, and refused whenever it is looked up."""
    with pytest.raises(InvalidInput, match="private") as refused:
        await desk.ask(CreateWebhook(name="literal", url="https://127.0.0.1/"))
    assert refused.value.field == "url"
    async with listening() as listener:
        await desk.ask(CreateWebhook(name="named", url=f"https://localhost:{listener.port}/"))
        accepted = await desk.defer(webhook="named")
        assert desk.service.database and desk.service.relay
        stored, outbound = (desk.service.database, desk.service.relay), Outbound(5, inside=False)
        delivery = Delivery(desk.settings, *stored, desk.bodies, outbound, KeyFile(desk.settings.seal_keys))
        delivering = asyncio.create_task(delivery.run())
        async with desk.working(desk.node(Model())):
            shown: InferenceView = await until(lambda: abandoned(desk, accepted.id))
        delivering.cancel()
        assert listener.connections == 0
    assert shown.delivery is not None and shown.delivery.attempts >= 1
    assert "private" in shown.delivery.problem
    [told] = await desk.running.said(DeliveryAbandoned)
    assert (told.inference_id, told.webhook, told.reason) == (accepted.id, "named", shown.delivery.problem)


async def abandoned(desk: Desk, inference_id: str) -> InferenceView | None:
    shown = await desk.show(inference_id)
    return shown if shown.delivery and shown.delivery.state == "abandoned" else None
