"""evaluator on real servers beside a data plane of small ONNX models: one verdict for each version and champion."""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest
from numpy.typing import NDArray

import library
from deploy.embedded.testing_servers import NatsServer
from library.base import Part
from library.files import pack
from services.evaluator.app import build
from services.evaluator.handlers import HANDLERS
from services.evaluator.settings import Settings
from shared import frames
from shared.artifacts import digest_of
from shared.errors import NotFound
from shared.events.common import GateCondition, Verdict
from shared.events.deployment import DeploymentStaged
from shared.events.evaluation import EvaluationCompleted, EvaluationFailed, EvaluationRequested
from shared.events.models import PromotionRefused, VersionPromoted, VersionRegistered
from shared.rpc.evaluator import GetEvaluation, ListEvaluations
from shared.rpc.tasks import CancelTask
from shared.settings import ServiceSettings
from tests.integration.onnx_models import Served
from tests.integration.running import Ask, Running, guarded_bus, running_service, until
from tests.integration.served_models import DataPlane, data_plane, linear
from tests.integration.tasks_kit import process_of
from tests.integration.trainer_desk import answering_desk

MODEL = "digits-cnn"
GATE = (GateCondition(metric="accuracy", operator=">=", threshold=0.8),)
FORBIDDEN = ("torch", "sklearn", "onnx", "scipy")


@cache
def digits() -> dict[Part, dict[str, NDArray[Any]]]:
    return library.data_set("digits").parts()


@cache
def good(nudge: float = 0.0) -> Served:
    """Least squares on the training part."""
    images, targets = digits()[Part.TRAIN]["image"].reshape(-1, 64), digits()[Part.TRAIN]["digit"]
    weights, *_ = np.linalg.lstsq(images, np.eye(10)[targets], rcond=None)
    return linear(weights + nudge)


def bad() -> Served:
    return linear(np.zeros((64, 10), dtype="<f4"))


@pytest.fixture
def nats(tmp_path: Path) -> Iterator[NatsServer]:
    with guarded_bus(tmp_path / "nats", HANDLERS) as server:
        yield server


@pytest.fixture
def patience() -> float:
    """How long an evaluation waits for the data plane before it goes on later."""
    return 60


@pytest.fixture
def settings(nats: NatsServer, settings_of: Callable[[str], ServiceSettings], patience: float) -> Settings:
    plain = settings_of("evaluator")
    changes = {"home_dir": plain.home_dir / "work", "lease_seconds": 60, "patience_seconds": patience}
    (plain.home_dir / "artifacts").mkdir()
    for part in map(pack, digits().values()):
        (plain.home_dir / "artifacts" / digest_of(part)).write_bytes(part)
    return Settings(**(plain.model_dump() | changes))


@pytest.fixture
async def plane(nats: NatsServer) -> AsyncIterator[DataPlane]:
    async with data_plane(nats.url) as listening:
        yield listening


@pytest.fixture(autouse=True)
async def desk(nats: NatsServer, settings_of: Callable[[str], ServiceSettings]) -> AsyncIterator[None]:
    async with answering_desk(settings_of, nats):
        yield


@pytest.fixture
async def evaluator(settings: Settings, nats: NatsServer) -> AsyncIterator[Running]:
    async with running_service(build(settings), HANDLERS, nats) as started:
        yield started


def registered(version: int, **given: Any) -> VersionRegistered:
    facts: dict[str, Any] = {
        "task_type": "classification",
        "dataset": "digits",
        "dataset_digest": "d" * 64,
        "dataset_parts": {"test": digest_of(pack(digits()[Part.TEST]))},
        "labels": [str(digit) for digit in range(10)],
        "signature": good().signature,
        "gate": GATE,
        "auto_promote": True,
    }
    return VersionRegistered(model=MODEL, version=version, digest=f"{version:064x}", **(facts | given))


def staged(version: int) -> DeploymentStaged:
    return DeploymentStaged(model=MODEL, version=version, digest=f"{version:064x}")


def promoted(version: int) -> VersionPromoted:
    return VersionPromoted(model=MODEL, version=version, digest=f"{version:064x}", alias="champion")


def refused(version: int, evaluation_id: str) -> PromotionRefused:
    return PromotionRefused(model=MODEL, version=version, evaluation_id=evaluation_id, stale=True)


async def stage(evaluator: Running, plane: DataPlane, version: int, model: Served) -> None:
    plane.serve(version, model)
    await evaluator.publish(registered(version))
    await evaluator.settled()
    await evaluator.publish(staged(version))


async def verdicts(evaluator: Running, count: int) -> list[EvaluationCompleted]:
    """The completed evaluations once there are as many."""

    async def enough() -> list[EvaluationCompleted] | None:
        found = await evaluator.said(EvaluationCompleted)
        return found if len(found) >= count else None

    found: list[EvaluationCompleted] = await until(enough, 60)
    return found


async def failures(evaluator: Running) -> list[EvaluationFailed]:
    async def some() -> list[EvaluationFailed]:
        return await evaluator.said(EvaluationFailed)

    found: list[EvaluationFailed] = await until(some, 60)
    return found


async def test_a_staged_version_is_scored_as_served(evaluator: Running, plane: DataPlane, ask: Ask) -> None:
    plane.pause = 0.01
    await stage(evaluator, plane, 1, good())
    (completed,) = await verdicts(evaluator, 1)
    assert completed.verdict is Verdict.PASSED
    assert completed.reasons == ()
    assert (completed.version, completed.digest, completed.champion_version) == (1, f"{1:064x}", None)
    assert completed.auto_promote
    items = len(digits()[Part.TEST]["digit"])
    assert 0.8 < completed.metrics["accuracy"] < 1
    assert sum(map(sum, completed.report["confusion_matrix"])) == items
    assert {(request.version, request.flags) for request in plane.asked} == {("1", frames.EVALUATION)}
    assert 1 < plane.most_together <= 4
    view = await ask(GetEvaluation(evaluation_id=completed.evaluation_id))
    assert (view.state, view.passed, view.metrics) == ("succeeded", True, completed.metrics)
    assert view.report == completed.report
    assert (view.baseline_method, view.baseline_metrics, view.baseline_beaten) == ("", {}, None)
    listed = (await ask(ListEvaluations(model=MODEL, version=1))).evaluations
    assert [(found.id, found.report) for found in listed] == [(view.id, {})]
    assert (await ask(ListEvaluations(model="other"))).evaluations == []
    with pytest.raises(NotFound):
        await ask(GetEvaluation(evaluation_id="evaluate-none"))


async def test_the_baseline_of_its_member_is_scored_on_the_same_items(
    evaluator: Running, plane: DataPlane, ask: Ask
) -> None:
    plane.serve(1, good())
    parts = {part: digest_of(pack(digits()[part])) for part in (Part.TRAIN, Part.TEST)}
    await evaluator.publish(registered(1, dataset_parts=parts))
    await evaluator.settled()
    await evaluator.publish(staged(1))
    (completed,) = await verdicts(evaluator, 1)
    assert (completed.baseline_method, completed.baseline_metric) == ("logistic regression on the pixels", "accuracy")
    assert completed.baseline_metrics["accuracy"] > completed.metrics["accuracy"]
    assert completed.baseline_metrics["items"] == completed.metrics["items"]
    assert completed.baseline_beaten is False
    assert completed.verdict is Verdict.PASSED
    view = await ask(GetEvaluation(evaluation_id=completed.evaluation_id))
    assert (view.baseline_method, view.baseline_metrics) == (completed.baseline_method, completed.baseline_metrics)
    assert (view.baseline_metric, view.baseline_beaten) == ("accuracy", False)


async def test_a_bad_version_fails_its_gate_in_words(evaluator: Running, plane: DataPlane) -> None:
    await stage(evaluator, plane, 1, bad())
    (completed,) = await verdicts(evaluator, 1)
    assert completed.verdict is Verdict.FAILED
    assert completed.reasons[0].startswith("accuracy is 0.")
    assert "the gate asks accuracy >= 0.8" in completed.reasons[0]


async def test_the_champion_is_scored_on_the_same_items(evaluator: Running, plane: DataPlane) -> None:
    plane.serve(1, good())
    await evaluator.publish(registered(1))
    await evaluator.publish(promoted(1), sequence=2)
    await evaluator.settled()
    await stage(evaluator, plane, 2, good(nudge=1e-6))
    await stage(evaluator, plane, 3, bad())
    second, third = sorted(await verdicts(evaluator, 2), key=lambda event: event.version)
    assert second.verdict is Verdict.PASSED
    assert second.champion_metrics["accuracy"] == pytest.approx(second.metrics["accuracy"], abs=0.005)
    assert (second.champion_version, second.champion_digest) == (1, f"{1:064x}")
    assert third.verdict is Verdict.FAILED
    assert "the champion has" in third.reasons[1]
    per_version = [sum(request.version == name for request in plane.asked) for name in "123"]
    assert per_version == [2 * per_version[1], per_version[1], per_version[1]]


async def test_one_evaluation_whatever_comes_first_or_twice(evaluator: Running, plane: DataPlane) -> None:
    plane.serve(1, good())
    await evaluator.publish(staged(1))
    await evaluator.publish(staged(1))
    await asyncio.sleep(0.3)
    assert await evaluator.rows("SELECT 1 FROM tasks") == []
    await evaluator.publish(registered(1))
    await verdicts(evaluator, 1)
    await evaluator.publish(registered(1))
    await evaluator.publish(staged(1))
    await evaluator.settled()
    assert len(await evaluator.said(EvaluationRequested)) == 1
    assert await evaluator.dead_letters() == 0


async def test_a_version_brought_back_for_an_evaluation_is_not_evaluated_once_more(
    evaluator: Running, plane: DataPlane
) -> None:
    """Else each of many that wait would bring forth another, beside the champion of that time."""
    await stage(evaluator, plane, 1, good())
    await verdicts(evaluator, 1)
    plane.moods += [404] * 30
    await evaluator.publish(registered(2))
    await evaluator.publish(staged(2))
    await evaluator.settled()
    await evaluator.publish(promoted(1), sequence=2)
    await evaluator.settled()
    await evaluator.publish(staged(2))
    await evaluator.settled()
    plane.serve(2, good(nudge=1e-6))
    plane.moods.clear()
    await verdicts(evaluator, 2)
    assert len(await evaluator.said(EvaluationRequested)) == 2


async def test_a_stale_comparison_is_made_again_beside_the_new_champion(evaluator: Running, plane: DataPlane) -> None:
    await stage(evaluator, plane, 1, good())
    await stage(evaluator, plane, 2, good(nudge=1e-6))
    first = await verdicts(evaluator, 2)
    stale = next(event for event in first if event.version == 2)
    await evaluator.publish(refused(2, stale.evaluation_id), sequence=5)
    await asyncio.sleep(0.3)
    assert len(await evaluator.said(EvaluationRequested)) == 2
    await evaluator.publish(promoted(1), sequence=4)
    again = (await verdicts(evaluator, 3))[-1]
    assert (again.version, again.champion_version, again.verdict) == (2, 1, Verdict.PASSED)
    await evaluator.publish(refused(2, stale.evaluation_id), sequence=5)
    await evaluator.publish(promoted(9), sequence=3)
    await evaluator.settled()
    assert len(await evaluator.said(EvaluationRequested)) == 3
    assert await evaluator.rows("SELECT version FROM champions") == [{"version": 1}]


async def test_who_was_overtaken_by_a_newer_champion_is_not_compared_again(
    evaluator: Running, plane: DataPlane
) -> None:
    """Equals would replace each other for ever."""
    await stage(evaluator, plane, 1, good())
    await stage(evaluator, plane, 2, good(nudge=1e-6))
    stale = next(event for event in await verdicts(evaluator, 2) if event.version == 1)
    await evaluator.publish(promoted(2), sequence=4)
    await evaluator.publish(refused(1, stale.evaluation_id), sequence=5)
    await evaluator.settled()
    assert len(await evaluator.said(EvaluationRequested)) == 2


async def test_an_unready_data_plane_is_waited_for(evaluator: Running, plane: DataPlane) -> None:
    plane.moods += [503, 504, 429, 503, 404]
    await stage(evaluator, plane, 1, good())
    (completed,) = await verdicts(evaluator, 1)
    assert completed.verdict is Verdict.PASSED


@pytest.mark.parametrize("patience", [2])
async def test_an_absent_data_plane_makes_the_task_go_on_later(evaluator: Running, nats: NatsServer) -> None:
    await evaluator.publish(registered(1))
    await evaluator.settled()
    await evaluator.publish(staged(1))

    async def given_back() -> bool:
        return bool(await evaluator.rows("SELECT 1 FROM tasks WHERE fence > 0 AND state = 'TASK_STATE_QUEUED'"))

    await until(given_back)
    async with data_plane(nats.url) as plane:
        plane.serve(1, good())
        (completed,) = await verdicts(evaluator, 1)
    assert completed.verdict is Verdict.PASSED
    assert await evaluator.said(EvaluationFailed) == []


@pytest.mark.parametrize("patience", [2])
async def test_a_version_that_is_not_served_or_refuses_fails_its_evaluation(
    evaluator: Running, plane: DataPlane
) -> None:
    await evaluator.publish(registered(1))
    await evaluator.settled()
    await evaluator.publish(staged(1))
    (failed,) = await failures(evaluator)
    assert (failed.version, failed.error_class, failed.digest) == (1, "NotServed", f"{1:064x}")
    assert failed.error_message == "version 1 of 'digits-cnn' is not served: answered with 404"
    plane.moods += [400] * 20
    await stage(evaluator, plane, 2, good())
    await until(lambda: _failed_twice(evaluator))
    plane.moods.clear()
    assert (await evaluator.said(EvaluationFailed))[1].error_class == "Refused"
    await evaluator.publish(staged(2))
    assert (await verdicts(evaluator, 1))[0].version == 2


async def _failed_twice(evaluator: Running) -> bool:
    return len(await evaluator.said(EvaluationFailed)) == 2


@pytest.mark.parametrize("patience", [2])
async def test_a_champion_that_went_meanwhile_is_replaced_by_its_successor(
    evaluator: Running, plane: DataPlane
) -> None:
    await evaluator.publish(registered(1))
    await evaluator.publish(registered(2))
    await evaluator.publish(promoted(1), sequence=2)
    await evaluator.settled()
    await stage(evaluator, plane, 3, good())
    await until(lambda: _asked_for(plane, "1"))
    plane.serve(2, good())
    await evaluator.publish(promoted(2), sequence=4)
    (completed,) = await verdicts(evaluator, 1)
    assert (completed.version, completed.champion_version) == (3, 2)
    assert [event.error_class for event in await evaluator.said(EvaluationFailed)] == ["ChampionChanged"]


async def _asked_for(plane: DataPlane, version: str) -> bool:
    return any(request.version == version for request in plane.asked)


async def test_a_cancelled_evaluation_says_so(evaluator: Running, plane: DataPlane, ask: Ask) -> None:
    plane.pause = 0.5
    await stage(evaluator, plane, 1, good())
    await until(lambda: _asked_for(plane, "1"))
    (requested,) = await evaluator.said(EvaluationRequested)
    await ask(CancelTask(task_id=requested.evaluation_id), service="evaluator")
    (failed,) = await failures(evaluator)
    assert (failed.evaluation_id, failed.error_class) == (requested.evaluation_id, "Cancelled")
    assert (await ask(GetEvaluation(evaluation_id=requested.evaluation_id))).state == "cancelled"


async def test_a_killed_evaluator_gives_one_verdict_and_keeps_heavy_modules_out(
    evaluator: Running, plane: DataPlane, settings: Settings, nats: NatsServer, tmp_path: Path
) -> None:
    plane.pause = 0.2
    evaluator.service.stop()
    await until(lambda: _stopped(evaluator))
    brief = settings.model_copy(update={"lease_seconds": 2.0})
    with process_of("services.evaluator", brief, tmp_path / "first.log") as first:
        plane.serve(1, good())
        await evaluator.publish(registered(1))
        await evaluator.publish(staged(1))
        await until(lambda: _asked_for(plane, "1"), 60)
        first.kill()
        first.wait()
    plane.pause = 0.0
    async with running_service(build(settings), HANDLERS, nats) as second:
        await verdicts(second, 1)
        assert [row["fence"] for row in await second.rows("SELECT fence FROM tasks")] == [2]
        assert len(await second.said(EvaluationCompleted)) == 1
    with process_of("services.evaluator", settings, tmp_path / "third.log") as third:
        plane.serve(2, bad())
        await evaluator.publish(registered(2))
        await evaluator.publish(staged(2))
        await until(lambda: _completed(evaluator, 2), 60)
        libraries = {mapping.path for mapping in psutil.Process(third.pid).memory_maps()}
    assert not [path for path in libraries if any(f"/{name}" in path for name in FORBIDDEN)]


async def _stopped(evaluator: Running) -> bool:
    return "draining" in evaluator.service.readiness.problems()


async def _completed(evaluator: Running, count: int) -> bool:
    subjects = await evaluator.js.stream_info("EVT", subjects_filter="evt.default.evaluation.v1.evaluation_completed")
    return sum((subjects.state.subjects or {}).values()) >= count
