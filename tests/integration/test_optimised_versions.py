"""What becomes of an optimised file: registry makes one version of it, and Triton answers with it."""

from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

from deploy.embedded.testing_servers import NatsServer, TritonServer, triton_server
from library.optimisation import fusing, graphs, pruning, quantising
from services.inference.engine import Triton
from services.inference.repository import Repository
from services.registry.handlers import HANDLERS
from shared.events.models import VersionRegistered
from shared.events.training import OptimisationCompleted, TrainingCompleted
from shared.oip import InferRequest
from shared.optimisation import Int8Dynamic, Int8Static
from shared.rpc.registry import GetVersion, ListVersions, RegisterDataset
from shared.settings import ServiceSettings
from shared.tensors import from_numpy, to_numpy
from tests.integration.networks import convolutions, graph, images
from tests.integration.onnx_models import Served
from tests.integration.running import Ask, Running, asking, guarded_bus, running

DATASET, PARTS = "d" * 64, {"train": "1" * 64, "validation": "2" * 64, "test": "3" * 64}
SECONDS = 60.0


@pytest.fixture
def nats(tmp_path: Path) -> Iterator[NatsServer]:
    with guarded_bus(tmp_path / "nats", HANDLERS) as server:
        yield server


@pytest.fixture
async def registry(nats: NatsServer, settings_of: Callable[[str], ServiceSettings]) -> AsyncIterator[Running]:
    async with running(HANDLERS, None, settings_of("registry"), nats) as started:
        yield started


async def test_it_is_one_version_with_the_lineage_of_its_origin(registry: Running, nats: NatsServer) -> None:
    async with asking(nats) as ask:
        await trained(registry, ask)
        done = OptimisationCompleted(
            task_id="optimise-1",
            model="cnn",
            version=1,
            digest="b" * 64,
            parameters={"method": "graph"},
            metrics={"bytes": 5.0},
        )
        await registry.publish(done)
        await registry.publish(done)
        await registry.settled()
        found = (await ask(ListVersions(model="cnn", source="optimisation"))).versions
        assert [(version.version, version.derived_from, version.digest) for version in found] == [(2, 1, "b" * 64)]
        first, second = await ask(GetVersion(model="cnn", version=1)), found[0]
        same = {"task_type", "dataset", "dataset_digest", "code_version", "labels", "signature", "gate", "card"}
        assert second.model_dump(include=same) == first.model_dump(include=same)
        assert (second.parameters, second.metrics, first.derived_from) == ({"method": "graph"}, {"bytes": 5.0}, None)
    *_, event = await registry.said(VersionRegistered)
    assert (event.version, event.derived_from, event.source) == (2, 1, "optimisation")
    assert (event.dataset_parts, event.auto_promote) == (PARTS, False)


async def trained(registry: Running, ask: Ask) -> None:
    await ask(RegisterDataset(name="digits", digest=DATASET, parts=PARTS))
    completed = TrainingCompleted(
        task_id="train-1",
        model="cnn",
        digest="a" * 64,
        dataset="digits",
        dataset_digest=DATASET,
        task_type="classification",
        code_version="1",
        parameters={"epochs": 3},
        metrics={"accuracy": 0.98},
        labels=("0", "1"),
        signature=convolutions().signature,
        card={"title": "digits"},
        auto_promote=True,
    )
    await registry.publish(completed)
    await registry.settled()


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TritonServer]:
    with triton_server(tmp_path_factory.mktemp("triton")) as running:
        yield running


@pytest.fixture
async def triton(server: TritonServer) -> AsyncIterator[Triton]:
    engine = Triton(server.http, server.grpc, server.access_header)
    yield engine
    await engine.close()


def optimised(folder: Path) -> dict[str, Served]:
    given, rows = convolutions(), images(64)
    files = {
        "graph": fusing.fused(graph(given), folder),
        "dynamic": quantising.dynamic(graph(given), Int8Dynamic(method="int8-dynamic"), folder),
        "static": quantising.static(graph(given), Int8Static(method="int8-static"), rows, folder),
        "channels": pruning.without_channels(graph(given), 0.25),
        "weights": pruning.without_weights(graph(given), 0.5),
    }
    return {name: Served(graphs.tidied(model).SerializeToString(), given.signature) for name, model in files.items()}


async def test_triton_answers_with_each_form_as_onnxruntime_does(
    triton: Triton, server: TritonServer, tmp_path: Path
) -> None:
    repository, rows = Repository(server.repository), images(5, seed=9)
    repository.prepare()
    for name, model in optimised(tmp_path).items():
        served = f"default.{name}.1"
        repository.write(served, model.signature, model.onnx, model.digest)
        await triton.load(served)
        request = InferRequest((from_numpy("image", rows["image"]),))
        reply = await triton.infer(served, request, model.signature, SECONDS)
        expected = graphs.session(graph(model)).run(None, rows)[0]
        np.testing.assert_allclose(to_numpy(reply.outputs[0]), expected, atol=1e-6, err_msg=name)
        await triton.unload(served)
