"""Pipelines of the real trainer beside the real registry, whatever is killed; what inference and evaluator say of
versions is published as they do.
"""

from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import nats as nats_client
import pytest
from nats.aio.msg import Msg

from deploy.embedded.testing_servers import NatsServer
from deploy.provision import provision_bus_over
from services.trainer.handlers import HANDLERS
from services.trainer.settings import Settings
from shared.bus import settle
from shared.errors import Conflict, DeadlineExceeded, InvalidInput, NotFound, Unavailable
from shared.events.common import Verdict
from shared.events.deployment import DeploymentFailed, TrafficSwitched
from shared.events.evaluation import EvaluationCompleted, EvaluationRequested
from shared.events.models import PromotionRefused, VersionPromoted, VersionRegistered
from shared.events.pipelines import (
    PipelineEnded,
    PipelineStepApproved,
    PipelineStepChanged,
    PipelineStopped,
    PipelineSubmitted,
)
from shared.events.training import TrainingRequested
from shared.names import new_id
from shared.pipelines import Definition
from shared.rpc.pipelines import (
    ApproveStep,
    CancelPipeline,
    ClonePipeline,
    GetPipeline,
    ListPipelines,
    PipelineView,
    SubmitPipeline,
)
from shared.rpc.tasks import CancelTask, GetTask
from shared.settings import ServiceSettings
from tests.integration.running import Ask, Running, guarded_bus, until
from tests.integration.tasks_kit import process_of, settings_with

SEED = 20261128
SECONDS = 180.0
MODEL = "breast-cancer-mlp"
TRAIN = {"name": "train", "kind": "train", "model": MODEL, "config": {"epochs": 1, "seed": 7}}
EVALUATE = {"name": "evaluate", "kind": "evaluate", "of": "train"}
PROMOTE = {"name": "promote", "kind": "promote", "of": "evaluate"}
DEPLOY = {"name": "deploy", "kind": "deploy", "of": "promote"}
NEVER = {"resources": {"cores": 4096, "memory": 0}}
ENDS = ("succeeded", "failed", "cancelled")
POINTS = (
    "committed-look",
    "published-TrainingRequested",
    "handled-VersionRegistered",
    "asked-PromoteVersion",
    "handled-TrafficSwitched",
    "published-PipelineEnded",
)


@pytest.fixture
def nats(tmp_path: Path) -> Iterator[NatsServer]:
    with guarded_bus(tmp_path / "nats", HANDLERS) as server:
        yield server


@pytest.fixture
def settings(nats: NatsServer, settings_of: Callable[[str], ServiceSettings]) -> Settings:
    return settings_with(settings_of("trainer"))


class Neighbours:
    """Inference and evaluator as far as they are heard: each version has this verdict, and traffic once promoted."""

    def __init__(self, registry: Running, verdict: Verdict) -> None:
        self._registry, self._verdict = registry, verdict
        self._told: set[str] = set()
        self._champion = ""

    async def on_models(self, message: Msg) -> None:
        """An event may come twice, as its publisher may die before it has noted that it was published."""
        headers = message.headers or {}
        if headers["ce-id"] in self._told:
            return
        self._told.add(headers["ce-id"])
        if headers["ce-type"] == VersionRegistered.type_name():
            await self._evaluate(VersionRegistered.model_validate_json(message.data))
        if headers["ce-type"] == VersionPromoted.type_name():
            await self._switch(VersionPromoted.model_validate_json(message.data))
        if headers["ce-type"] == PromotionRefused.type_name():
            await self._evaluate(PromotionRefused.model_validate_json(message.data))

    async def _evaluate(self, version: VersionRegistered | PromotionRefused) -> None:
        """Beside the champion of now; a promotion that was refused as stale is compared anew."""
        key = {"model": version.model, "version": version.version, "digest": version.digest}
        evaluation_id = f"evaluate-{new_id()}"
        await self._registry.publish(EvaluationRequested(evaluation_id=evaluation_id, **key))
        reasons = () if self._verdict is Verdict.PASSED else ("too bad",)
        champion = {"champion_digest": self._champion, "champion_version": 1 if self._champion else None}
        facts = {**key, **champion, "verdict": self._verdict, "reasons": reasons}
        await self._registry.publish(EvaluationCompleted.model_validate({"evaluation_id": evaluation_id} | facts))

    async def _switch(self, version: VersionPromoted) -> None:
        self._champion = version.digest
        await self._registry.publish(TrafficSwitched(model=version.model, version=version.version))


@asynccontextmanager
async def neighbours(registry: Running, verdict: Verdict = Verdict.PASSED) -> AsyncIterator[None]:
    connection = await nats_client.connect(registry.server.url)
    try:
        await connection.subscribe("evt.*.models.v1.>", cb=Neighbours(registry, verdict).on_models)
        await settle(connection)
        yield
    finally:
        await connection.close()


def asked(*steps: dict[str, Any], **given: Any) -> SubmitPipeline:
    return SubmitPipeline(definition=Definition.model_validate({"steps": steps} | given))


async def submitted(ask: Ask, *steps: dict[str, Any], **given: Any) -> PipelineView:
    found: PipelineView = await ask(asked(*steps, **given), service="trainer")
    return found


async def shown(ask: Ask, pipeline_id: str) -> PipelineView | None:
    try:
        found: PipelineView = await ask(GetPipeline(pipeline_id=pipeline_id), service="trainer")
    except (Unavailable, DeadlineExceeded):
        return None
    return found


async def reached(ask: Ask, pipeline_id: str, condition: Callable[[PipelineView], bool]) -> PipelineView:
    async def look() -> PipelineView | None:
        found = await shown(ask, pipeline_id)
        return found if found and condition(found) else None

    try:
        pipeline: PipelineView = await until(look, SECONDS)
    except TimeoutError:
        raise AssertionError(await shown(ask, pipeline_id)) from None
    return pipeline


async def ended(ask: Ask, pipeline_id: str) -> PipelineView:
    return await reached(ask, pipeline_id, lambda found: found.state in ENDS)


def states(pipeline: PipelineView) -> dict[str, str]:
    return {step.name: step.state for step in pipeline.steps}


async def test_one_submission_goes_from_the_training_to_the_traffic(
    trainer: Running, registry: Running, ask: Ask
) -> None:
    order = asked(TRAIN, EVALUATE, PROMOTE, DEPLOY)
    async with neighbours(registry):
        made = await ask(order, service="trainer", correlation_id="chain-1")
        begun = await reached(ask, made.id, lambda found: found.steps[0].state == "running")
        done = await ended(ask, made.id)
    assert (made.state, made.correlation_id, made.actor) == ("running", "chain-1", "ada")
    assert states(made) == dict.fromkeys(("train", "evaluate", "promote", "deploy"), "waiting")
    assert begun.steps[1].note == "waits for 'train'"
    assert (done.state, set(states(done).values())) == ("succeeded", {"succeeded"})
    train, evaluate, promote, deploy = done.steps
    task = await ask(GetTask(task_id=train.task_id), service="trainer")
    assert (task.parent, task.correlation_id, task.parameters["seed"]) == (made.id, "chain-1", 7)
    assert {step.version for step in done.steps} == {1} and evaluate.task_id.startswith("evaluate-")
    assert (evaluate.note, promote.task_id) == ("passed", evaluate.task_id)
    assert all(step.started_at and step.ended_at for step in done.steps)
    (promoted,) = await registry.said(VersionPromoted)
    assert (promoted.version, promoted.actor, promoted.evaluation_id) == (1, "ada", evaluate.task_id)
    await assert_told(trainer, made.id, ["train", "evaluate", "promote", "deploy"])


async def assert_told(trainer: Running, pipeline_id: str, order: list[str]) -> None:
    """Events tell of it whole: each step began and succeeded once, in this order."""
    kinds = (PipelineSubmitted, PipelineStepChanged, PipelineEnded, PipelineStopped)
    said = [event for event in await trainer.said(*kinds) if event.pipeline_id == pipeline_id]
    submitted_event, *changes, end = said
    assert (submitted_event.steps, end.state) == (tuple(order), "succeeded")
    assert [(event.step, event.state) for event in changes] == [
        (step, state) for step in order for state in ("running", "succeeded")
    ]


async def test_whatever_is_killed_each_step_is_done_once(
    registry: Running, settings: Settings, nats: NatsServer, ask: Ask, tmp_path: Path
) -> None:
    """The trainer dies where it hurts most, at one point after the other."""
    await provision_bus_over(nats.url, [HANDLERS.declaration])
    folder, log = tmp_path / "failpoints", tmp_path / "trainer.log"
    folder.mkdir()
    for point in POINTS:
        (folder / point).touch()
    dying = settings.model_copy(update={"failpoints": folder, "lease_seconds": 2.0})
    pipeline_id = ""
    async with neighbours(registry):
        for _ in POINTS:
            with process_of("services.trainer", dying, log) as process:
                pipeline_id = pipeline_id or (await until(lambda: _made(ask))).id
                await until(lambda process=process: _died(process), SECONDS)
        assert list(folder.iterdir()) == []
        with process_of("services.trainer", settings, log):
            done = await ended(ask, pipeline_id)
            await until(lambda: _is_told(registry, pipeline_id), SECONDS)
    assert (done.state, set(states(done).values())) == ("succeeded", {"succeeded"})
    await assert_told(registry, pipeline_id, ["train", "evaluate", "promote", "deploy"])
    assert len({event.task_id for event in await registry.said(TrainingRequested)}) == 1
    assert len(await registry.said(VersionRegistered)) == len(await registry.said(VersionPromoted)) == 1


async def _made(ask: Ask) -> PipelineView | None:
    """The key makes it the same one when the first answer was lost."""
    try:
        order = asked(TRAIN, EVALUATE, PROMOTE, DEPLOY)
        found: PipelineView = await ask(order, service="trainer", idempotency_key="once")
    except (Unavailable, DeadlineExceeded):
        return None
    return found


async def _died(process: Any) -> bool:
    return process.poll() is not None


async def _is_told(registry: Running, pipeline_id: str) -> bool:
    return pipeline_id in [event.pipeline_id for event in await registry.said(PipelineEnded)]


async def test_a_gate_that_is_not_passed_stops_the_pipeline_before_the_promotion(
    trainer: Running, registry: Running, ask: Ask
) -> None:
    waiting = {"name": "other", "kind": "train", "model": "digits-cnn", **NEVER}
    async with neighbours(registry, Verdict.FAILED):
        made = await submitted(ask, TRAIN, EVALUATE, PROMOTE, DEPLOY, waiting)
        done = await ended(ask, made.id)
    assert done.state == "failed"
    assert states(done) == {
        "train": "succeeded",
        "evaluate": "failed",
        "promote": "cancelled",
        "deploy": "cancelled",
        "other": "cancelled",
    }
    assert (done.steps[1].error_class, done.steps[1].error_message) == ("GateNotPassed", "too bad")
    other = await ask(GetTask(task_id=done.steps[4].task_id), service="trainer")
    assert other.state == "cancelled"
    assert await registry.said(VersionPromoted) == []
    assert [event.state for event in await trainer.said(PipelineStopped)] == ["failed"]


async def test_with_continue_only_what_needs_the_failed_step_is_left_out(
    trainer: Running, registry: Running, ask: Ask
) -> None:
    waits = {"name": "waits", "kind": "train", "model": MODEL, **NEVER}
    needs = {"name": "needs", "kind": "train", "model": MODEL, "after": ["waits"]}
    made = await submitted(ask, waits, needs, TRAIN, on_failure="continue")
    begun = await reached(ask, made.id, lambda found: bool(found.steps[0].task_id))
    await ask(CancelTask(task_id=begun.steps[0].task_id), service="trainer")
    done = await ended(ask, made.id)
    assert (done.state, states(done)) == ("failed", {"waits": "cancelled", "needs": "skipped", "train": "succeeded"})
    assert done.steps[1].note == "'waits' was cancelled"


async def test_a_promotion_by_approval_waits_for_somebody(trainer: Running, registry: Running, ask: Ask) -> None:
    async with neighbours(registry):
        made = await submitted(ask, TRAIN, EVALUATE, PROMOTE | {"policy": "approval"}, DEPLOY)
        approval = ApproveStep(pipeline_id=made.id, step="promote")
        with pytest.raises(Conflict, match="step 'promote' waits for 'evaluate': look at what comes of that first"):
            await ask(approval, service="trainer")
        waits = await reached(ask, made.id, lambda found: found.steps[1].state == "succeeded")
        waits = await reached(ask, made.id, lambda found: "approval" in found.steps[2].note)
        assert (waits.state, waits.steps[2].state) == ("running", "waiting")
        assert await registry.said(VersionPromoted) == []
        with pytest.raises(NotFound):
            await ask(approval, service="trainer", project="red")
        with pytest.raises(Conflict, match="step 'train' needs no approval"):
            await ask(ApproveStep(pipeline_id=made.id, step="train"), service="trainer")
        for _ in range(2):
            await ask(approval, service="trainer", actor="grace")
        done = await ended(ask, made.id)
    assert (done.state, done.steps[2].approved_by) == ("succeeded", "grace")
    assert [event.actor for event in await registry.said(VersionPromoted)] == ["grace"]
    assert [(event.step, event.actor) for event in await trainer.said(PipelineStepApproved)] == [("promote", "grace")]


async def test_a_champion_that_came_meanwhile_is_compared_with_before_the_promotion(
    trainer: Running, registry: Running, ask: Ask
) -> None:
    async with neighbours(registry):
        approved = PROMOTE | {"policy": "approval"}
        waiting = await submitted(ask, TRAIN | {"config": {"epochs": 1, "seed": 8}}, EVALUATE, approved, DEPLOY)
        first = await reached(ask, waiting.id, lambda found: "approval" in found.steps[2].note)
        other = await ended(ask, (await submitted(ask, TRAIN, EVALUATE, PROMOTE)).id)
        assert other.state == "succeeded"
        await ask(ApproveStep(pipeline_id=waiting.id, step="promote"), service="trainer")
        done = await ended(ask, waiting.id)
    assert (done.state, done.steps[2].version) == ("succeeded", 1)
    assert done.steps[2].task_id != first.steps[1].task_id
    (refused,) = await registry.said(PromotionRefused)
    assert refused.stale and refused.version == 1
    assert [event.version for event in await registry.said(VersionPromoted)] == [2, 1]


async def test_a_version_that_is_gone_fails_its_promotion(trainer: Running, registry: Running, ask: Ask) -> None:
    async with neighbours(registry):
        made = await submitted(ask, TRAIN, EVALUATE, PROMOTE | {"policy": "approval"})
        await reached(ask, made.id, lambda found: "approval" in found.steps[2].note)
        await registry.rows("UPDATE versions SET deleted_at = now() RETURNING version")
        await ask(ApproveStep(pipeline_id=made.id, step="promote"), service="trainer")
        done = await ended(ask, made.id)
    assert (done.state, done.steps[2].error_class) == ("failed", "NotFound")


async def test_a_version_that_cannot_be_served_fails_its_evaluation(
    trainer: Running, registry: Running, ask: Ask
) -> None:
    made = await submitted(ask, TRAIN, EVALUATE)
    trained = (await reached(ask, made.id, lambda found: found.steps[0].state == "succeeded")).steps[0]
    failed = DeploymentFailed(model=trained.model, version=trained.version or 0, reason="no such operator")
    await registry.publish(failed)
    done = await ended(ask, made.id)
    assert (done.steps[1].error_class, done.steps[1].error_message) == ("NotDeployed", "no such operator")


async def test_what_does_not_come_in_time_fails(trainer: Running, registry: Running, ask: Ask) -> None:
    made = await submitted(ask, TRAIN, EVALUATE | {"seconds": 0.5})
    done = await ended(ask, made.id)
    assert (done.state, done.steps[1].error_class) == ("failed", "TimedOut")
    assert "waits until it is staged; that had 0.5 s" in done.steps[1].error_message


async def test_a_pipeline_is_cancelled_whole_and_cloned_with_changes(trainer: Running, ask: Ask) -> None:
    steps = (TRAIN | NEVER, EVALUATE, PROMOTE)
    made = await submitted(ask, *steps, name="nightly")
    task_id = (await reached(ask, made.id, lambda found: bool(found.steps[0].task_id))).steps[0].task_id
    with pytest.raises(NotFound):
        await ask(CancelPipeline(pipeline_id=made.id), service="trainer", project="red")
    await ask(CancelPipeline(pipeline_id=made.id), service="trainer")
    done = await ended(ask, made.id)
    assert (done.state, set(states(done).values())) == ("cancelled", {"cancelled"})
    assert (await ask(GetTask(task_id=task_id), service="trainer")).state == "cancelled"
    assert (await ask(CancelPipeline(pipeline_id=made.id), service="trainer")).state == "cancelled"
    change = {"train": {"config": {"epochs": 2}, "resources": None}}
    clone = await ask(ClonePipeline(pipeline_id=made.id, steps=change), service="trainer")
    assert (clone.cloned_from, clone.name) == (made.id, "nightly")
    assert clone.steps[0].spec["config"] == {"epochs": 2, "seed": 7}
    with pytest.raises(InvalidInput, match=r"^steps\[0\]\.config\.epochs: "):
        await ask(ClonePipeline(pipeline_id=made.id, steps={"train": {"config": {"epochs": -1}}}), service="trainer")
    listed = await ask(ListPipelines(limit=1), service="trainer")
    assert [found.id for found in listed.pipelines] == [clone.id]
    older = await ask(ListPipelines(before=listed.next), service="trainer")
    assert [found.id for found in older.pipelines] == [made.id]
    assert (await ask(ListPipelines(), service="trainer", project="red")).pipelines == []
    await ask(CancelPipeline(pipeline_id=clone.id), service="trainer")


async def test_what_cannot_be_is_refused_before_anything_begins(trainer: Running, ask: Ask) -> None:
    for steps, words in (
        ((TRAIN, TRAIN | {"name": "b", "config": {"epochs": 0}}), r"^steps\[1\]\.config\.epochs: "),
        ((TRAIN, {"name": "b", "kind": "tune", "model": "unknown"}), r"^steps\[1\]\.model: .*no model 'unknown'"),
        ((TRAIN | {"place": "ray"},), r"^steps\[0\]\.place: no Ray cluster"),
        ((TRAIN | {"dataset": "nowhere"},), r"^steps\[0\]\.dataset: there is no data set 'nowhere'"),
        ((TRAIN, EVALUATE | {"of": "bake"}), r"^steps\[1\]\.of: no step named 'bake'"),
    ):
        with pytest.raises(InvalidInput, match=words):
            await submitted(ask, *steps)
    assert await trainer.rows("SELECT 1 FROM pipelines") == await trainer.rows("SELECT 1 FROM tasks") == []
    with pytest.raises(NotFound, match="there is no pipeline"):
        await ask(GetPipeline(pipeline_id=f"pipeline-{new_id()}"), service="trainer")


async def test_a_training_takes_what_was_best_in_a_study(trainer: Running, registry: Running, ask: Ask) -> None:
    study = {"name": "study", "kind": "tune", "model": MODEL, "config": {"epochs": 1}, "budget": {"trials": 2}}
    longer = {"name": "longer", "kind": "train", "model": MODEL, "config": {"epochs": 2}, "config_of": "study"}
    made = await submitted(ask, study | {"sampler": "random"}, longer)
    done = await ended(ask, made.id)
    assert (done.state, [step.version for step in done.steps]) == ("succeeded", [1, 2])
    best = (await ask(GetTask(task_id=done.steps[0].task_id), service="trainer")).result["parameters"]
    told = (await ask(GetTask(task_id=done.steps[1].task_id), service="trainer")).parameters
    assert best and {name: told[name] for name in best} == best and told["epochs"] == 2
