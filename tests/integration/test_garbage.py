"""registry collects what nobody names; what trainer, inference and evaluator name is answered by stand-ins for them."""

import asyncio
import json
import os
import time
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import nats as nats_client
import pytest
from nats.aio.client import Client
from nats.aio.msg import Msg

from deploy.embedded.testing_servers import NatsServer
from services.registry.cleaning import Cleaning
from services.registry.files import Files
from services.registry.handlers import HANDLERS
from services.registry.parts import Parts
from services.registry.settings import Settings
from shared.artifacts import Artifacts
from shared.bus import ERROR_HEADER, settle
from shared.errors import Conflict, NotFound, Unavailable
from shared.events.models import VersionArchived, VersionDeleted, VersionRegistered
from shared.rpc.artifacts import References
from shared.rpc.inference import DeploymentList, DeploymentView
from shared.rpc.registry import (
    ArchiveVersion,
    CollectGarbage,
    CompareVersions,
    DeleteVersion,
    GetDataset,
    GetVersion,
    ListModels,
    ListVersions,
    RegisterDataset,
    RegisterUpload,
)
from shared.service import Service
from shared.settings import ServiceSettings
from tests.integration import onnx_models
from tests.integration.running import Ask, Running, asking, guarded_bus, running_service, until

AFFINE, LOOKUP = onnx_models.affine(), onnx_models.lookup()


class Neighbours:
    """What trainer and inference answer."""

    def __init__(self, connection: Client) -> None:
        self.connection = connection
        self.references = {"trainer": References(), "inference": References(), "evaluator": References()}
        self.deployments = DeploymentList()
        self.silent, self.in_vain = False, 0

    async def was_asked_in_vain(self) -> bool:
        return self.in_vain > 1

    async def answer(self, message: Msg) -> None:
        _, service, verb = message.subject.split(".")
        if self.silent:
            self.in_vain += 1
            error = Unavailable()
            headers = {ERROR_HEADER: error.code}
            await self.connection.publish(message.reply, json.dumps(error.to_wire()).encode(), headers=headers)
            return
        answer = self.deployments if verb == "list_deployments" else self._page(service, message)
        await message.respond(answer.model_dump_json().encode())

    def _page(self, service: str, message: Msg) -> References:
        """Pages of one, so that the asker has to turn them."""
        found = self.references[service]
        rest = [digest for digest in sorted(found.digests) if digest > json.loads(message.data)["after"]]
        return References(digests=rest[:1], datasets=found.datasets, more=len(rest) > 1)


@pytest.fixture
def nats(tmp_path: Path) -> Iterator[NatsServer]:
    with guarded_bus(tmp_path / "nats", HANDLERS) as server:
        yield server


@pytest.fixture
def artifacts(tmp_path: Path) -> Artifacts:
    return Artifacts(f"file://{tmp_path}/artifacts")


@pytest.fixture
async def registry(
    nats: NatsServer, settings_of: Callable[[str], ServiceSettings], artifacts: Artifacts
) -> AsyncIterator[Running]:
    settings = Settings.model_validate(settings_of("registry").model_dump())
    service = Service("registry", settings)
    service.handle(HANDLERS, Parts(Files(artifacts, settings), service.bus, artifacts))
    async with running_service(service, HANDLERS, nats) as started:
        yield started


@pytest.fixture
async def neighbours(nats: NatsServer) -> AsyncIterator[Neighbours]:
    connection = await nats_client.connect(nats.url)
    found = Neighbours(connection)
    for service in ("trainer", "inference", "evaluator"):
        await connection.subscribe(f"rpc.{service}.>", cb=found.answer)
    await settle(connection)
    yield found
    await connection.close()


@pytest.fixture
async def ask(nats: NatsServer, registry: Running) -> AsyncIterator[Ask]:
    async with asking(nats) as ask:
        yield ask


async def digests(artifacts: Artifacts) -> set[str]:
    return {kept.digest async for kept in artifacts.kept()}


async def bring(ask: Ask, artifacts: Artifacts, model: onnx_models.Served, **given: Any) -> Any:
    return await ask(RegisterUpload(model="mine", digest=await artifacts.put(model.onnx), **given))


async def test_what_somebody_names_stays(ask: Ask, artifacts: Artifacts, neighbours: Neighbours) -> None:
    await bring(ask, artifacts, AFFINE)
    checkpoints = [await artifacts.put(f"checkpoint {number}".encode()) for number in range(3)]
    served = await artifacts.put(b"served")
    part, lost = await artifacts.put(b"part"), await artifacts.put(b"lost")
    await ask(RegisterDataset(name="digits", digest="d" * 64, parts={"train": part}))
    neighbours.references["trainer"] = References(digests=checkpoints, datasets=["digits"])
    neighbours.references["inference"] = References(digests=[served])
    everything = await digests(artifacts)

    young = await ask(CollectGarbage(dry_run=False))
    assert (young.artifacts, young.size, await digests(artifacts)) == (0, 0, everything)
    dry = await ask(CollectGarbage(grace_seconds=0))
    assert (dry.artifacts, dry.size, dry.named, await digests(artifacts)) == (1, 4, 6, everything)
    done = await ask(CollectGarbage(dry_run=False, grace_seconds=0))
    assert (done.artifacts, done.size, done.more) == (1, 4, False)
    assert await digests(artifacts) == everything - {lost}
    assert (await ask(GetDataset(name="digits"))).parts == {"train": part}


async def test_unused_data_sets_go_and_their_parts_after_them(
    ask: Ask, artifacts: Artifacts, neighbours: Neighbours
) -> None:
    part = await artifacts.put(b"part")
    await ask(RegisterDataset(name="digits", digest="d" * 64, parts={"train": part}))
    neighbours.references["trainer"] = References(datasets=["digits"])
    assert (await ask(CollectGarbage(dry_run=False, grace_seconds=0))).datasets == []
    neighbours.references["trainer"] = References()
    assert (await ask(CollectGarbage(dry_run=False))).datasets == []
    first = await ask(CollectGarbage(dry_run=False, grace_seconds=0))
    assert (first.datasets, first.artifacts) == ([f"digits {'d' * 64}"], 0)
    with pytest.raises(NotFound):
        await ask(GetDataset(name="digits"))
    assert (await ask(CollectGarbage(dry_run=False, grace_seconds=0))).artifacts == 1
    assert await digests(artifacts) == set()


async def test_nothing_goes_while_a_service_does_not_answer(ask: Ask, artifacts: Artifacts) -> None:
    lost = await artifacts.put(b"lost")
    with pytest.raises(Unavailable):
        await ask(CollectGarbage(dry_run=False, grace_seconds=0))
    assert await digests(artifacts) == {lost}


async def test_it_is_collected_by_schedule(
    registry: Running, artifacts: Artifacts, neighbours: Neighbours, tmp_path: Path, settings_of: Any
) -> None:
    """Again and again, also where a service did not answer once; what is young stays."""
    facts = settings_of("registry").model_dump() | {"collect_hours": 0.05 / 3600}
    assert registry.service.database is not None
    settings = Settings.model_validate(facts)
    parts = Parts(Files(artifacts, settings), registry.service.bus, artifacts)
    old, young = await aged(artifacts, tmp_path, b"old"), await artifacts.put(b"young")
    loop = asyncio.create_task(Cleaning(registry.service.database, parts, settings).run())
    await until(lambda: lacks(artifacts, old))
    neighbours.silent = True
    later = await aged(artifacts, tmp_path, b"later")
    await until(neighbours.was_asked_in_vain)
    assert later in await digests(artifacts)
    neighbours.silent = False
    await until(lambda: lacks(artifacts, later))
    assert await digests(artifacts) == {young}
    loop.cancel()


async def test_a_schedule_of_nothing_is_off(artifacts: Artifacts, registry: Running) -> None:
    settings = Settings(collect_hours=0)
    parts = Parts(Files(artifacts, settings), registry.service.bus, artifacts)
    assert registry.service.database is not None
    await Cleaning(registry.service.database, parts, settings).run()


async def aged(artifacts: Artifacts, folder: Path, content: bytes) -> str:
    """The digest of an artifact that was stored two days ago."""
    digest = await artifacts.put(content)
    (file,) = (folder / "artifacts").rglob(f"*{digest}*")
    before = time.time() - 2 * 86_400
    os.utime(file, (before, before))
    return digest


async def lacks(artifacts: Artifacts, digest: str) -> bool:
    return digest not in await digests(artifacts)


async def test_foreign_files_in_the_store_stay(
    ask: Ask, artifacts: Artifacts, neighbours: Neighbours, tmp_path: Path
) -> None:
    note = tmp_path / "artifacts" / "README"
    note.write_text("not ours")
    assert (await ask(CollectGarbage(dry_run=False, grace_seconds=0))).artifacts == 0
    assert note.exists()


async def test_a_deleted_version_is_gone_and_its_number_too(
    ask: Ask, registry: Running, artifacts: Artifacts, neighbours: Neighbours
) -> None:
    await bring(ask, artifacts, AFFINE)
    neighbours.deployments = DeploymentList(
        deployments=[DeploymentView(model="mine", version=1, digest=AFFINE.digest, state="draining")]
    )
    with pytest.raises(Conflict, match="is draining now"):
        await ask(DeleteVersion(model="mine", version=1))
    neighbours.deployments = DeploymentList()
    await ask(DeleteVersion(model="mine", version=1))
    for request in (GetVersion(model="mine", version=1), DeleteVersion(model="mine", version=1)):
        with pytest.raises(NotFound):
            await ask(request)
    assert (await bring(ask, artifacts, AFFINE)).version == 2
    await ask(DeleteVersion(model="mine", version=2))
    said = await registry.said(VersionRegistered, VersionDeleted)
    assert [(type(event).__name__, event.version, event.actor) for event in said] == [
        ("VersionRegistered", 1, "ada"),
        ("VersionDeleted", 1, "ada"),
        ("VersionRegistered", 2, "ada"),
        ("VersionDeleted", 2, "ada"),
    ]
    assert (await ask(CollectGarbage(dry_run=False, grace_seconds=0))).artifacts == 1


async def test_versions_are_found_archived_and_compared(
    ask: Ask, registry: Running, artifacts: Artifacts, neighbours: Neighbours
) -> None:
    await bring(ask, artifacts, AFFINE, card={"summary": "Four to 100% three_"}, labels=["lion"])
    await bring(ask, artifacts, LOOKUP, task_type="tabular")
    for text, found in (
        ("LION", [1]),
        ("100%", [1]),
        ("three_", [1]),
        ("%", [1]),
        ("_", [1]),
        ("bear", []),
        ("", [2, 1]),
    ):
        versions = (await ask(ListVersions(model="mine", q=text))).versions
        assert [version.version for version in versions] == found, text
    assert [model.name for model in (await ask(ListModels(q="lion"))).models] == ["mine"]
    assert (await ask(ListModels(q="tiger"))).models == []
    assert [version.version for version in (await ask(ListVersions(model="mine", source="training"))).versions] == []

    assert (await ask(ArchiveVersion(model="mine", version=1, archived=True))).archived
    await ask(ArchiveVersion(model="mine", version=1, archived=True))  # is so already: nothing to say
    assert [version.version for version in (await ask(ListVersions(model="mine"))).versions] == [2]
    assert [event.version for event in await registry.said(VersionArchived)] == [1]
    assert not (await ask(ArchiveVersion(model="mine", version=1, archived=False))).archived

    comparison = await ask(CompareVersions(model="mine", left=1, right=2))
    assert (comparison.left.digest, comparison.right.digest) == (AFFINE.digest, LOOKUP.digest)
    assert (comparison.parameters, comparison.metrics) == ({}, {})
