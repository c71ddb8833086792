"""Mutual TLS between services and the bus, on a real server: who has no certificate is not heard."""

import asyncio
import ssl
from collections.abc import Callable, Iterator
from pathlib import Path

import nats
import pytest
from nats.errors import Error

from deploy import certificates
from deploy.bus import provision_bus
from deploy.embedded.servers import BusUser
from deploy.embedded.testing_servers import NatsServer, nats_server
from deploy.provision import wanted_of_all
from shared import bus
from shared.direct import Arrived
from shared.settings import ServiceSettings
from shared.streams import SERVICES
from shared.tls import client_context

SECONDS = 30


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("certificates")
    certificates.make(folder)
    return folder


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory, folder: Path) -> Iterator[NatsServer]:
    users = {service: BusUser("password") for service in SERVICES}
    with nats_server(tmp_path_factory.mktemp("nats"), users, certificates=folder) as server:
        yield server


def settings_of(server: NatsServer, folder: Path, service: str, **changed: object) -> ServiceSettings:
    own = {"nats_ca": folder / "ca.pem", "nats_cert": folder / f"{service}.pem", "nats_key": folder / f"{service}.key"}
    facts = {"nats_url": server.servers, "nats_user": service, "nats_password": "password", **own, **changed}
    return ServiceSettings.model_validate(facts)


async def test_services_speak_over_it(server: NatsServer, folder: Path) -> None:
    """By FastStream's broker, and by the plain client of the data plane, which writes on its own."""
    arrived: asyncio.Future[Arrived] = asyncio.get_running_loop().create_future()
    direct = await bus.connect("gateway", settings_of(server, folder, "gateway"))
    await direct.listen("infer.p.m", arrived.set_result)
    await bus.settle(direct)
    broker = bus.Bus("inference", settings_of(server, folder, "inference"))
    await broker.connect()
    await broker.connection.publish("infer.p.m", b"x" * 500_000)
    async with asyncio.timeout(SECONDS):
        assert len((await arrived).data) == 500_000
    direct.send("infer.q.m", b"y" * 500_000)
    await broker.stop()
    await direct.close()


async def test_the_admin_step_goes_over_it(server: NatsServer, folder: Path) -> None:
    tls = client_context(folder / "ca.pem", folder / "admin.pem", folder / "admin.key")
    assert await provision_bus(server.url, wanted_of_all(), tls=tls)


def without_a_certificate(folder: Path) -> ssl.SSLContext:
    return client_context(folder / "ca.pem")


def of_another_ca(folder: Path) -> ssl.SSLContext:
    certificates.make(folder / "other")
    return client_context(folder / "ca.pem", folder / "other" / "gateway.pem", folder / "other" / "gateway.key")


def signed_by_itself(folder: Path) -> ssl.SSLContext:
    other = certificates.Authority(folder / "self")
    other.sign("gateway")
    return client_context(folder / "ca.pem", folder / "self" / "gateway.pem", folder / "self" / "gateway.key")


def of_a_server(folder: Path) -> ssl.SSLContext:
    return client_context(folder / "ca.pem", folder / "nats.pem", folder / "nats.key")


@pytest.mark.parametrize("stranger", [without_a_certificate, of_another_ca, signed_by_itself, of_a_server])
@pytest.mark.parametrize("first", [True, False])
async def test_strangers_with_the_right_password_are_refused(
    server: NatsServer, folder: Path, stranger: Callable[[Path], ssl.SSLContext], first: bool
) -> None:
    with pytest.raises((Error, OSError)):
        await attempt(server, stranger(folder), first)


async def test_nothing_is_said_in_the_clear(server: NatsServer) -> None:
    with pytest.raises((Error, OSError)):
        await attempt(server, None, False)


async def attempt(server: NatsServer, tls: ssl.SSLContext | None, first: bool) -> None:
    connection = await nats.connect(
        server.url_for("gateway"), tls=tls, tls_handshake_first=first, allow_reconnect=False, connect_timeout=5
    )
    await connection.close()


async def test_with_a_certificate_it_would_come_in(server: NatsServer, folder: Path) -> None:
    own = client_context(folder / "ca.pem", folder / "gateway.pem", folder / "gateway.key")
    await attempt(server, own, first=True)
    await attempt(server, own, first=False)


async def test_a_bus_that_speaks_no_tls_never_hears_the_password(folder: Path) -> None:
    """It may be a stranger in its place, which says that it wants none."""
    heard = bytearray()

    async def pretend(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b'INFO {"server_id": "x", "max_payload": 1048576, "tls_required": false}\r\n')
        while chunk := await reader.read(65536):
            heard.extend(chunk)
        writer.close()

    listener = await asyncio.start_server(pretend, "127.0.0.1", 0)
    port = listener.sockets[0].getsockname()[1]
    connecting = asyncio.create_task(
        bus.connect(
            "gateway",
            ServiceSettings.model_validate(
                {"nats_url": f"nats://127.0.0.1:{port}", "nats_password": "password", "nats_ca": folder / "ca.pem"}
            ),
        )
    )
    async with asyncio.timeout(SECONDS):
        while not heard:
            await asyncio.sleep(0.02)
        await asyncio.sleep(0.2)
    connecting.cancel()
    await asyncio.gather(connecting, return_exceptions=True)
    listener.close()
    assert b"password" not in heard
    assert b"CONNECT" not in heard


def test_certificates_are_made_anew_and_their_ca_is_kept(tmp_path: Path) -> None:
    certificates.make(tmp_path, ["bus.example"])
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    assert {f"{name}.pem" for name in ("ca", "nats", "edge", "admin", *SERVICES)} <= set(before)
    assert all(path.stat().st_mode & 0o077 == 0 for path in tmp_path.glob("*.key"))
    certificates.make(tmp_path)
    after = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    assert {name for name in before if before[name] == after[name]} == {"ca.key", "ca.pem"}
