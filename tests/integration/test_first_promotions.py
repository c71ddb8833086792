"""The first promotion of a model: nobody is told that it answers while a node may say that nothing is there."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from deploy.embedded.testing_servers import PostgresServer, TritonServer, triton_server
from services.inference import store
from services.inference.settings import Settings
from shared.context import Context
from shared.events.models import VersionPromoted
from shared.rpc.inference import ListDeployments
from tests.integration.onnx_models import affine
from tests.integration.test_inference import (
    SECONDS,
    House,
    cached_models,
    house,
    lost_seconds,
    reached,
    running,
    settings,
    triton,
)

__all__ = ["cached_models", "house", "lost_seconds", "settings", "triton"]

MODELS = 4
ASKED = 20


@pytest.fixture(scope="module")
def other_triton(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TritonServer]:
    with triton_server(tmp_path_factory.mktemp("triton")) as found:
        yield found


@pytest.fixture
async def two_nodes(
    house: House, settings: Settings, other_triton: TritonServer, tmp_path: Path
) -> AsyncIterator[House]:
    home = tmp_path / "other"
    home.mkdir()
    other = {"node": "other", "ops_port": 0, "home_dir": home} | reached(other_triton)
    async with running(settings.model_copy(update=other)):
        yield house


async def test_no_node_of_two_says_that_nothing_is_promoted_once_it_is(two_nodes: House) -> None:
    names = [f"affine-{number}" for number in range(MODELS)]
    for name in names:
        await two_nodes.register(affine(), 1, name)
    await two_nodes.said("deployment_staged", MODELS)
    found = []
    for number, name in enumerate(names, 1):
        await two_nodes.tell(VersionPromoted(model=name, version=1, alias="champion"))
        await two_nodes.said("traffic_switched", number)
        found += [(await two_nodes.infer(name=name))[0].status for _ in range(ASKED)]
    assert found == [200] * ASKED * MODELS


async def until(house: House, status: int) -> None:
    async with asyncio.timeout(SECONDS):
        while (await house.infer())[0].status != status:
            await asyncio.sleep(0.05)


async def state(house: House) -> str:
    return (await house.service.bus.ask(ListDeployments(), Context())).deployments[0].state


async def beat(house: House, seconds: float) -> None:
    """Another node, played: it holds the version, and has read no route."""
    assert house.service.database is not None
    async with house.service.database.transaction() as tx:
        await store.beat(tx, "other", seconds, 0, 0, ["default.affine.1"])


async def test_a_first_promotion_waits_for_a_node_that_has_not_read_it_until_its_lease_ends(house: House) -> None:
    await house.register(affine(), 1)
    await house.said("deployment_staged")
    await beat(house, 3600)
    await house.tell(VersionPromoted(model="affine", version=1, alias="champion"))
    await until(house, 200)
    assert await state(house) == "staged"
    await beat(house, 0)
    assert (await house.said("traffic_switched"))[0]["previous_version"] is None
    assert await state(house) == "serving"


async def test_a_node_whose_lease_has_ended_does_not_say_that_nothing_is_promoted(
    house: House, postgres: PostgresServer
) -> None:
    """Others no longer wait for it, so it may have missed a promotion; by a version's number it answers on."""
    await house.register(affine(), 1)
    await house.said("deployment_staged")
    await until(house, 404)
    postgres.kill()
    try:
        await until(house, 503)
        assert (await house.infer(version="1"))[0].status == 200
    finally:
        postgres.start()
    await until(house, 404)
