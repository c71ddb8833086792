"""The ops port of a service on a real bus that knows its allow-lists, and the gateway's way to it."""

import asyncio
import json
import re
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from pydantic import ValidationError

from deploy.embedded.ports import free_port
from deploy.embedded.testing_servers import NatsServer
from services.gateway.operations import PAGES, OpsPorts, with_bearer
from services.gateway.settings import Settings
from shared.errors import Conflict, NotFound, Unavailable
from shared.events.models import VersionRegistered
from shared.events.training import TrainingCompleted, TrainingFailed
from shared.handlers import Handlers
from shared.ops import server
from shared.ops.readiness import Readiness
from shared.settings import ServiceSettings
from shared.streams import Declaration
from shared.work import Work
from tests.integration.running import Running, guarded_bus, running, until

TRACE = "0af7651916cd43dd8448eb211c80319c"
SERVICE = "registry"
PATIENCE = 60.0


async def on_event(event: TrainingCompleted, work: Work[None]) -> None:
    if event.task_id == "poison":
        raise Conflict("this can never be")
    work.say(VersionRegistered(model="digits-cnn", task_id=event.task_id))


HANDLERS = Handlers(SERVICE, events={TrainingCompleted: on_event, TrainingFailed: on_event})


@pytest.fixture
def nats(tmp_path: Path) -> Iterator[NatsServer]:
    with guarded_bus(tmp_path / "nats", HANDLERS) as started:
        yield started


@pytest.fixture
def url() -> str:
    return f"http://127.0.0.1:{free_port()}"


@pytest.fixture
async def service(nats: NatsServer, url: str, settings_of: Callable[[str], ServiceSettings]) -> AsyncIterator[Running]:
    settings = settings_of(SERVICE).model_copy(update={"ops_port": int(url.rpartition(":")[2])})
    async with running(HANDLERS, None, settings, nats) as started:
        yield started


@pytest.fixture
async def ops(service: Running, url: str) -> AsyncIterator[httpx.AsyncClient]:
    async with httpx.AsyncClient(base_url=url, timeout=PATIENCE) as client:
        yield client


async def status(ops: httpx.AsyncClient) -> dict[str, Any]:
    found: dict[str, Any] = (await ops.get("/status")).json()
    return found


async def test_the_status_tells_what_happens(service: Running, ops: httpx.AsyncClient) -> None:
    before = (await status(ops))["messages"]
    await service.publish(TrainingCompleted(task_id="good"))
    await service.publish(TrainingCompleted(task_id="poison"), traceparent=f"00-{TRACE}-b7ad6b7169203331-01")
    await service.settled()
    assert await service.said(VersionRegistered)

    async def told() -> dict[str, Any] | None:
        found = await status(ops)
        return found if found["messages"]["dead"]["total"] > before["dead"]["total"] else None

    found = await until(told)
    assert found["ready"] and found["problems"] == {}
    assert found["messages"]["handled"]["total"] == before["handled"]["total"] + 1
    assert found["dead_letters"] == 1
    assert {each["stream"] for each in found["consumers"]} >= {"EVT", "RETRY"}
    assert found["database"]["most"] == 6
    assert found["outbox"]["dead"] == 0
    assert found["process"]["memory_bytes"] > 10_000_000
    assert found["process"]["uptime_seconds"] > 0
    remark = next(each for each in found["remarks"] if each["event"] == "dead letter")
    assert "this can never be" in remark["detail"]


async def test_the_status_stays_when_the_bus_goes(service: Running, ops: httpx.AsyncClient) -> None:
    service.server.stop()

    async def unready() -> dict[str, Any] | None:
        found = await status(ops)
        return None if found["ready"] else found

    found = await until(unready)
    assert found["dead_letters"] is None
    assert "bus" in found["problems"]
    assert (await ops.get("/readyz")).status_code == 503
    assert (await ops.get("/healthz")).status_code == 200


async def test_pages_need_nothing_from_outside(ops: httpx.AsyncClient) -> None:
    for path in server.FILES:
        reply = await ops.get(path)
        assert reply.status_code == 200
        assert "default-src 'none'" in reply.headers["content-security-policy"]
        assert "unsafe" not in reply.headers["content-security-policy"]
        addresses = set(re.findall(r"https?://[^\"'\s)]+", reply.text))
        assert addresses <= {"http://www.w3.org/2000/svg"}
        assert not re.findall(r"(?:href|src)=\"/|fetch\(\"/", reply.text), "links must bear a path before them"
        assert "<style" not in reply.text and " style=" not in reply.text and "innerHTML" not in reply.text


async def test_only_reading_is_known(ops: httpx.AsyncClient) -> None:
    for path in ("/", "/status", "/asyncapi.json", "/metrics"):
        assert (await ops.post(path)).status_code == 405
    assert (await ops.get("/../settings.py")).status_code == 404
    assert (await ops.get("/pages/status.html")).status_code == 404


@pytest.mark.usefixtures("service")
async def test_the_gateway_fetches_what_it_was_told_of_and_nothing_else(url: str) -> None:
    ports = OpsPorts({SERVICE: url, "trainer": f"http://127.0.0.1:{free_port()}"}, PATIENCE)
    for page in PAGES:
        found = await ports.fetch(SERVICE, page)
        assert found.status == 200 and found.body
    assert (await ports.fetch(SERVICE, "")).headers["content-security-policy"] == server.CSP
    for unknown in ("healthz", "../status", "status?x", "http://127.0.0.1/", "metrics\r\nX: y"):
        with pytest.raises(NotFound):
            await ports.fetch(SERVICE, unknown)
    for stranger in ("auth", "", "127.0.0.1:22", "registry@elsewhere"):
        with pytest.raises(NotFound):
            await ports.fetch(stranger, "status")
    with pytest.raises(Unavailable, match="trainer"):
        await ports.fetch("trainer", "status")


@pytest.fixture
async def elsewhere(settings_of: Callable[[str], ServiceSettings]) -> AsyncIterator[str]:
    """The ops port of another service, on another address and known by a name."""
    port = free_port()
    settings = settings_of("trainer").model_copy(update={"ops_host": "127.0.0.2", "ops_port": port})

    async def none() -> int:
        return 0

    operations = server.Operations(Readiness("trainer"), Declaration("trainer"), none)
    serving = asyncio.create_task(server.serve_ops(settings, operations))
    yield f"http://127.0.0.2:{port}"
    serving.cancel()


@pytest.mark.usefixtures("service")
async def test_the_gateway_fetches_from_wherever_its_setting_says(
    url: str, elsewhere: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    named = url.replace("127.0.0.1", "localhost")
    monkeypatch.setenv("GATEWAY_OPS_URLS", json.dumps({SERVICE: named, "trainer": elsewhere}))
    ports = OpsPorts(Settings(port=1).ops_urls, PATIENCE)

    async def whose(service: str) -> str:
        return str(json.loads((await ports.fetch(service, "readyz")).body)["service"])

    assert [await whose(SERVICE), await whose("trainer")] == [SERVICE, "trainer"]
    with pytest.raises(NotFound):
        await ports.fetch("auth", "readyz")


@pytest.mark.parametrize(
    "address",
    [
        "http://a",
        "https://a:1",
        "http://a:1/x",
        "http://a@b:1",
        "http://a:1\n",
        "http://:1",
        "http://[::1]:1",
        "file:///a",
    ],
)
def test_the_setting_takes_nothing_but_hosts_with_ports(address: str) -> None:
    with pytest.raises(ValidationError, match="ops_urls"):
        Settings(port=1, ops_urls={"auth": address})


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        (b"Basic b3BlcmF0b3I6YWltX2tleQ==", b"Bearer aim_key"),
        (b"basic OmFpbV9rZXk=", b"Bearer aim_key"),
        (b"Basic not base64!", b"Bearer "),
        (b"Basic ", b"Bearer "),
        (b"Bearer aim_key", b"Bearer aim_key"),
    ],
)
def test_a_browser_gives_its_key_as_a_password(given: bytes, expected: bytes) -> None:
    assert with_bearer({b"authorization": given})[b"authorization"] == expected


def test_no_key_stays_no_key() -> None:
    assert with_bearer({}) == {}
