"""Fixtures that several files of this folder share; a file of another service says its own `nats` and `settings`."""

from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path

import pytest

from deploy.embedded.testing_servers import NatsServer, nats_server
from deploy.provision import bus_users
from services.monitor import handlers as monitor_handlers
from services.monitor.app import build as build_monitor
from services.monitor.settings import Settings as MonitorSettings
from services.registry import handlers as registry_handlers
from services.trainer.app import build
from services.trainer.handlers import HANDLERS
from services.trainer.settings import Settings
from shared.settings import ServiceSettings
from shared.streams import SERVICES
from tests.integration.running import Ask, Running, asking, running, running_service


@pytest.fixture
async def registry(nats: NatsServer, settings_of: Callable[[str], ServiceSettings]) -> AsyncIterator[Running]:
    async with running(registry_handlers.HANDLERS, None, settings_of("registry"), nats) as started:
        yield started


@pytest.fixture
async def trainer(registry: Running, settings: Settings, nats: NatsServer) -> AsyncIterator[Running]:
    """Beside a registry, with the settings of the file."""
    async with running_service(build(settings), HANDLERS, nats) as started:
        yield started


@pytest.fixture
async def monitor(nats: NatsServer, settings_of: Callable[[str], ServiceSettings]) -> AsyncIterator[Running]:
    service = build_monitor(MonitorSettings.model_validate(settings_of("monitor").model_dump()))
    async with running_service(service, monitor_handlers.HANDLERS, nats) as started:
        yield started


@pytest.fixture
def guarded_nats(tmp_path: Path) -> Iterator[NatsServer]:
    """A bus with the allow-lists of everybody, for files whose `nats` it is."""
    with nats_server(tmp_path / "nats", bus_users(dict.fromkeys(SERVICES, "password"))) as server:
        yield server


@pytest.fixture
async def ask(nats: NatsServer) -> AsyncIterator[Ask]:
    async with asking(nats) as ask:
        yield ask
