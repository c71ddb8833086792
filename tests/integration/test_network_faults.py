"""A network that falls silent, is slow or cuts connections: it is noticed, nobody storms, nothing is lost.

What is silent is told from what is slow by patience alone, so that each takes half a minute.
"""

import time
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass

import pytest

from deploy.embedded.testing_servers import NatsServer, PostgresServer
from shared.events.training import TrainingCompleted
from shared.settings import ServiceSettings
from tests.integration.counted import HANDLERS, Pace, effects, moved, prepare, said, say, troubled, well
from tests.integration.proxy import Proxy, proxied
from tests.integration.running import Running, running, until

LATENCY = 0.2
RESETS = 5

pytestmark = pytest.mark.slow


@dataclass
class Lines:
    """A service, and the lines to its bus and its database."""

    registry: Running
    bus: Proxy
    database: Proxy


@pytest.fixture
async def lines(
    nats: NatsServer, postgres: PostgresServer, settings_of: Callable[[str], ServiceSettings]
) -> AsyncIterator[Lines]:
    async with proxied(nats.port) as bus, proxied(postgres.port) as database:
        settings = moved(settings_of("registry"), nats=bus.port, postgres=database.port)
        async with running(HANDLERS, Pace(), settings, nats) as registry:
            await prepare(registry)
            yield Lines(registry, bus, database)


async def noticed(lines: Lines, check: str) -> None:
    """Not ready first, for whatever reason; then for this one."""
    begun = time.monotonic()

    async def unready() -> bool:
        return bool(lines.registry.service.readiness.problems())

    await until(unready)
    print(f"not ready {time.monotonic() - begun:.1f} s after the line to the {check} fell silent")
    await troubled(lines.registry, check)


async def test_a_bus_that_falls_silent_is_noticed(lines: Lines) -> None:
    """No end of the connection tells: only that its pings are not answered."""
    lines.bus.hush()
    await noticed(lines, "bus")
    await say(lines.registry, "kept")
    lines.bus.speak()
    await well(lines.registry)
    assert await said(lines.registry) == ["kept"]


async def test_a_database_that_falls_silent_is_noticed(lines: Lines) -> None:
    lines.database.hush()
    await noticed(lines, "database")
    await lines.registry.publish(TrainingCompleted(task_id="t"))
    lines.database.speak()
    await well(lines.registry)
    await lines.registry.settled()
    assert await effects(lines.registry) == {"t": 1}


async def test_slow_lines_that_are_cut_cost_repeats_and_no_storm(lines: Lines) -> None:
    """As many new connections as the cuts ask for, within a small factor; each event takes effect once."""
    before = lines.bus.connected
    lines.bus.latency = lines.database.latency = LATENCY
    tasks = [f"t{number}" for number in range(2 * RESETS)]
    for turn in range(RESETS):
        await lines.registry.publish(TrainingCompleted(task_id=tasks[2 * turn]))
        lines.bus.reset()
        await lines.registry.publish(TrainingCompleted(task_id=tasks[2 * turn + 1]))
        lines.database.reset()
    lines.bus.latency = lines.database.latency = 0.0
    await lines.registry.settled()
    await well(lines.registry)
    assert await effects(lines.registry) == dict.fromkeys(tasks, 1)
    assert lines.bus.connected - before <= 4 * RESETS
    redelivered = (await lines.registry.js.consumer_info("EVT", "registry")).num_redelivered or 0
    assert redelivered <= 4 * len(tasks)
    assert await lines.registry.dead_letters() == 0
