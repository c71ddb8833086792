"""A model's process that dies while a real Triton loads it ends that Triton, which heals once it is started again."""

import asyncio
from pathlib import Path

import pytest

from deploy.embedded.testing_servers import TritonServer, triton_server
from services.inference.engine import Triton
from services.inference.repository import Repository
from services.inference.resources.memory import Processes
from services.inference.resources.watchdog import Watchdog
from shared.errors import Unavailable
from tests.freezing import freeze
from tests.integration import onnx_models
from tests.integration.test_triton import stub_of

NAME = "default.affine.1"


async def kill_while_loading(server: TritonServer, name: str) -> None:
    """As soon as there is a process, and held still first, so that it dies before it is ready."""
    while True:
        try:
            stub = stub_of(server, name)
        except StopIteration:
            await asyncio.sleep(0.005)
            continue
        freeze(stub.pid)
        stub.kill()
        return


async def test_a_process_that_dies_while_loaded_ends_its_triton_alone_and_it_heals(tmp_path: Path) -> None:
    model = onnx_models.affine()
    with triton_server(tmp_path / "one") as server, triton_server(tmp_path / "other") as other:
        repository = Repository(server.repository)
        await asyncio.to_thread(repository.prepare)
        repository.write(NAME, model.signature, model.onnx, model.digest)
        triton, neighbour = (Triton(each.http, each.grpc, each.access_header) for each in (server, other))
        watchdog = Watchdog(Processes(server.repository), "python", deadline=0.5, pause=0.1)
        async with asyncio.TaskGroup() as group:
            group.create_task(kill_while_loading(server, NAME))
            with pytest.raises(Unavailable, match="not reachable"):
                async with watchdog.over(NAME):
                    await triton.load(NAME)
        assert await neighbour.is_ready()
        server.kill()
        server.start()
        async with watchdog.over(NAME):
            await triton.load(NAME)
        assert NAME in await triton.ready_models()
        await triton.close()
        await neighbour.close()
