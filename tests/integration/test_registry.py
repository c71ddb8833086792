"""registry on a real PostgreSQL and a real NATS that knows its allow-lists."""

import asyncio
import random
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from deploy.embedded.testing_servers import NatsServer
from services.registry import handlers
from services.registry.files import Files
from services.registry.handlers import HANDLERS
from services.registry.parts import Parts
from services.registry.settings import Settings
from shared.artifacts import Artifacts
from shared.context import Context
from shared.errors import Conflict, InvalidInput, NotFound
from shared.events.common import GateCondition, Signature, TensorSpec, Verdict
from shared.events.evaluation import EvaluationCompleted
from shared.events.models import DatasetRegistered, PromotionRefused, VersionPromoted, VersionRegistered
from shared.events.training import TrainingCompleted
from shared.rpc.registry import (
    GetDataset,
    GetModel,
    GetVersion,
    ListDatasets,
    ListModels,
    ListVersions,
    RegisterDataset,
    SetAlias,
    VersionView,
)
from shared.service import Service
from shared.settings import ServiceSettings
from shared.work import Work
from tests.integration.running import Ask, Running, asking, guarded_bus, running_service

DATASET = "d" * 64
PARTS = {"train": "1" * 64, "validation": "2" * 64, "test": "3" * 64}
TENSOR = TensorSpec(name="image", datatype="FP32", shape=(-1, 1, 8, 8))


@pytest.fixture
def nats(tmp_path: Path) -> Iterator[NatsServer]:
    with guarded_bus(tmp_path / "nats", HANDLERS) as server:
        yield server


@pytest.fixture
async def registry(nats: NatsServer, settings_of: Callable[[str], ServiceSettings]) -> AsyncIterator[Running]:
    settings = Settings.model_validate(settings_of("registry").model_dump())
    service = Service("registry", settings)
    artifacts = Artifacts(settings.artifacts_url)
    service.handle(HANDLERS, Parts(Files(artifacts, settings), service.bus, artifacts))
    async with running_service(service, HANDLERS, nats) as started:
        yield started


@pytest.fixture
async def ask(nats: NatsServer, registry: Running) -> AsyncIterator[Ask]:
    async with asking(nats) as ask:
        await ask(RegisterDataset(name="digits", digest=DATASET, parts=PARTS, facts={"rows": 3}))
        yield ask


def training(number: int, **given: Any) -> TrainingCompleted:
    lineage = {
        "task_id": f"train-{number}",
        "model": "cnn",
        "digest": digest(number),
        "dataset": "digits",
        "dataset_digest": DATASET,
        "task_type": "image-classification",
        "code_version": "1",
        "parameters": {"epochs": 3},
        "metrics": {"accuracy": 0.98, "loss": float("nan")},
        "labels": ("0", "1"),
        "signature": Signature(inputs=(TENSOR,)),
        "gate": (GateCondition(metric="accuracy", threshold=0.9),),
        "card": {"summary": "digits"},
        "auto_promote": True,
    }
    return TrainingCompleted.model_validate(lineage | given)


def digest(number: int) -> str:
    return f"{number:064x}"


def evaluation(version: int, against: int | None = None, *, passed: bool = True, **given: Any) -> EvaluationCompleted:
    fields = {
        "evaluation_id": f"evaluate-{version}-{against}",
        "model": "cnn",
        "version": version,
        "digest": digest(version),
        "dataset_digest": DATASET,
        "champion_version": against,
        "champion_digest": digest(against) if against else "",
        "verdict": Verdict.PASSED if passed else Verdict.FAILED,
        "reasons": ("accuracy 0.99 >= 0.97",),
        "auto_promote": True,
    }
    return EvaluationCompleted.model_validate(fields | given)


async def register(registry: Running, count: int) -> None:
    for number in range(1, count + 1):
        await registry.publish(training(number))
        await registry.settled()


async def test_a_finished_training_becomes_one_version(registry: Running, ask: Ask) -> None:
    sent = await registry.publish(training(1), correlation_id="chain", id="e1")
    await registry.settled()
    await registry.publish(training(1), id=sent.id)  # the same event again
    await registry.publish(training(1))  # the same fact in another event
    await registry.publish(training(2))
    await registry.settled()
    said = await registry.said(VersionRegistered)
    assert [(event.version, event.digest, event.dataset_parts) for event in said] == [
        (1, digest(1), PARTS),
        (2, digest(2), PARTS),
    ]
    assert said[0].signature.inputs == (TENSOR,)
    assert said[0].gate[0].metric == "accuracy"
    assert said[0].auto_promote
    view: VersionView = await ask(GetVersion(model="cnn", version=1))
    assert (view.task_id, view.dataset_digest, view.card, view.labels) == (
        "train-1",
        DATASET,
        {"summary": "digits"},
        ["0", "1"],
    )
    assert view.metrics["accuracy"] == 0.98
    assert view.metrics["loss"] != view.metrics["loss"]  # not a number, and still a version
    assert view.signature.inputs[0].shape == (-1, 1, 8, 8)
    assert [found.version for found in (await ask(ListVersions(model="cnn"))).versions] == [2, 1]
    assert [found.version for found in (await ask(ListVersions(model="cnn", before=2))).versions] == [1]
    model = await ask(GetModel(model="cnn"))
    assert (model.versions, model.task_type, model.aliases) == (2, "image-classification", {})
    assert await registry.dead_letters() == 0


async def test_a_version_waits_for_its_data_set(registry: Running, ask: Ask) -> None:
    late = "e" * 64
    await registry.publish(training(1, dataset_digest=late))
    await asyncio.sleep(0.2)
    with pytest.raises(NotFound):
        await ask(GetModel(model="cnn"))
    await ask(RegisterDataset(name="digits", digest=late, parts=PARTS))
    await registry.settled()
    assert [event.dataset_digest for event in await registry.said(VersionRegistered)] == [late]


async def test_a_training_without_lineage_is_a_dead_letter(registry: Running, ask: Ask) -> None:
    await registry.publish(training(1, digest="nothing"))
    await registry.publish(training(2, model="Not A Slug"))
    await registry.settled()
    assert await registry.dead_letters() == 2
    assert (await ask(ListModels())).models == []


async def test_the_first_passing_version_becomes_champion_and_a_better_one_follows(registry: Running, ask: Ask) -> None:
    await register(registry, 2)
    await registry.publish(evaluation(1), actor="ada")
    await registry.settled()
    await registry.publish(evaluation(2, against=1))
    await registry.publish(evaluation(2, against=1))  # known: changes nothing
    await registry.settled()
    promoted = await registry.said(VersionPromoted)
    assert [(event.version, event.previous_version, event.alias) for event in promoted] == [
        (1, None, "champion"),
        (2, 1, "champion"),
    ]
    assert (promoted[0].actor, promoted[0].evaluation_id) == ("ada", "evaluate-1-None")
    assert (await ask(GetModel(model="cnn"))).aliases == {"champion": 2}
    view = await ask(GetVersion(model="cnn", version=2))
    assert (view.aliases, view.evaluation_id, view.evaluation_passed) == (["champion"], "evaluate-2-1", True)


async def test_a_stale_comparison_is_refused(registry: Running, ask: Ask) -> None:
    await register(registry, 3)
    for event in (evaluation(1), evaluation(2, against=1), evaluation(3, against=1)):
        await registry.publish(event)
        await registry.settled()
    refused = await registry.said(PromotionRefused)
    assert [(event.version, event.stale, event.evaluation_id) for event in refused] == [(3, True, "evaluate-3-1")]
    assert "version 2 now" in refused[0].reason
    await registry.publish(evaluation(3, against=2))
    await registry.settled()
    assert (await ask(GetModel(model="cnn"))).aliases == {"champion": 3}


@pytest.mark.parametrize("given", [{"verdict": Verdict.FAILED}, {"auto_promote": False}, {"digest": "f" * 64}])
async def test_nothing_else_promotes_by_itself(registry: Running, ask: Ask, given: dict[str, Any]) -> None:
    await register(registry, 1)
    await registry.publish(evaluation(1, **given))
    await registry.settled()
    assert await registry.said(VersionPromoted) == []
    refused = await registry.said(PromotionRefused)
    assert [event.stale for event in refused] == ([False] if "digest" in given else [])
    assert (await ask(GetModel(model="cnn"))).aliases == {}


async def test_a_person_sets_aliases_under_the_same_rule(registry: Running, ask: Ask) -> None:
    await register(registry, 2)
    await ask(SetAlias(model="cnn", alias="candidate", version=2))
    with pytest.raises(Conflict, match="version 1 has no evaluation"):
        await ask(SetAlias(model="cnn", alias="champion", version=1))
    await registry.publish(evaluation(1, passed=False, auto_promote=False))
    await registry.settled()
    with pytest.raises(Conflict, match="did not pass"):
        await ask(SetAlias(model="cnn", alias="champion", version=1))
    await registry.publish(evaluation(2, auto_promote=False))
    await registry.settled()
    view = await ask(SetAlias(model="cnn", alias="champion", version=2))
    assert view.aliases == ["candidate", "champion"]
    await ask(SetAlias(model="cnn", alias="champion", version=2))  # is there already: nothing to say
    said = [(event.alias, event.version, event.actor) for event in await registry.said(VersionPromoted)]
    assert said == [("candidate", 2, "ada"), ("champion", 2, "ada")]
    with pytest.raises(Conflict, match="points at version 2 now, not at version 1"):
        await ask(SetAlias(model="cnn", alias="candidate", version=1, expected=1))


IMPOSSIBLE: tuple[tuple[Any, type[Exception]], ...] = (
    (GetModel(model="none"), NotFound),
    (ListVersions(model="none"), NotFound),
    (GetVersion(model="cnn", version=9), NotFound),
    (SetAlias(model="none", alias="champion", version=1), NotFound),
    (SetAlias(model="cnn", alias="champion", version=9), NotFound),
    (GetVersion(model="cnn", version=2**40), InvalidInput),
    (GetDataset(name="none"), NotFound),
    (GetDataset(name="digits", digest="0" * 64), NotFound),
    (RegisterDataset(name="digits", digest=DATASET, parts={"train": "0" * 64}), Conflict),
)


async def test_what_cannot_be_is_said_so(registry: Running, ask: Ask) -> None:
    await register(registry, 1)
    for request, error in IMPOSSIBLE:
        with pytest.raises(error):
            await ask(request)


async def test_a_data_set_is_registered_once(registry: Running, ask: Ask) -> None:
    again = await ask(RegisterDataset(name="digits", digest=DATASET, parts=PARTS))
    assert again == await ask(GetDataset(name="digits", digest=DATASET)) == await ask(GetDataset(name="digits"))
    assert (again.parts, again.facts) == (PARTS, {"rows": 3})
    newer = await ask(RegisterDataset(name="digits", digest="e" * 64, parts=PARTS))
    assert await ask(GetDataset(name="digits")) == newer
    assert [event.digest for event in await registry.said(DatasetRegistered)] == [DATASET, "e" * 64]


async def test_projects_do_not_see_each_other(registry: Running, ask: Ask) -> None:
    await register(registry, 1)
    with pytest.raises(NotFound):
        await ask(GetModel(model="cnn"), project="other")
    await ask(RegisterDataset(name="digits", digest=DATASET, parts=PARTS), project="other")
    await registry.publish(training(1, digest=digest(7)), project="other")
    await registry.settled()
    assert (await ask(GetVersion(model="cnn", version=1), project="other")).digest == digest(7)
    assert (await ask(GetVersion(model="cnn", version=1))).digest == digest(1)


@pytest.mark.parametrize("seed", range(3))
async def test_concurrent_promotions_end_with_one_consistent_champion(registry: Running, ask: Ask, seed: int) -> None:
    """Every evaluation was made against nobody, so exactly one of the many transactions may promote."""
    await register(registry, 4)
    events = [evaluation(version) for version in (1, 2, 3, 4)] * 3
    random.Random(seed).shuffle(events)
    outcomes = await asyncio.gather(*(in_transaction(registry, event) for event in events))
    promoted = [said for outcome in outcomes for said in outcome if isinstance(said, VersionPromoted)]
    refused = [said for outcome in outcomes for said in outcome if isinstance(said, PromotionRefused)]
    assert len(promoted) == 1
    assert sorted([promoted[0].version, *(said.version for said in refused)]) == [1, 2, 3, 4]
    assert all(said.stale for said in refused)
    assert (await ask(GetModel(model="cnn"))).aliases == {"champion": promoted[0].version}


async def test_concurrent_trainings_get_numbers_of_their_own(registry: Running, ask: Ask) -> None:
    events = [training(number) for number in range(1, 6)] * 2
    await asyncio.gather(*(in_transaction(registry, event) for event in events))
    found = (await ask(ListVersions(model="cnn"))).versions
    assert [version.version for version in found] == [5, 4, 3, 2, 1]
    assert {version.task_id for version in found} == {event.task_id for event in events}


async def in_transaction(registry: Running, event: Any) -> list[Any]:
    """What the handler says when it runs beside others."""
    handle = HANDLERS.events[type(event)]
    assert registry.service.database and registry.service.dispatcher
    async with registry.service.database.transaction() as tx:
        work: handlers.Work = Work(tx, Context(), registry.service.dispatcher.parts)
        await handle(event, work)
    return work.said


async def test_data_sets_are_listed_newest_first_without_what_is_long(ask: Ask) -> None:
    facts = {"sizes": {"train": 3}, "profile": {"columns": []}, "preview": [{"note": "x"}]}
    for name, digest in (("mails", "e" * 64), ("digits", "f" * 64)):
        await ask(RegisterDataset(name=name, digest=digest, parts=PARTS, facts=facts))
    found = (await ask(ListDatasets())).datasets
    assert [(dataset.name, dataset.digest[0]) for dataset in found] == [
        ("digits", "f"),
        ("mails", "e"),
        ("digits", "d"),
    ]
    assert found[0].facts == {"sizes": {"train": 3}}
    assert [dataset.digest[0] for dataset in (await ask(ListDatasets(name="digits"))).datasets] == ["f", "d"]
    assert [dataset.name for dataset in (await ask(ListDatasets(limit=1))).datasets] == ["digits"]
    assert (await ask(GetDataset(name="digits"))).facts == facts
