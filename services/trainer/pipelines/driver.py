"""Pipelines go on: again and again each is looked at, what ended is noted, and what may begin begins.

All that a look finds out commits together, with the tasks that it accepts here. What it asks of other services may be
asked twice, as we may be ended in between: a batch is known by its key, a promotion of the champion changes nothing.
"""

from collections.abc import Awaitable, Sequence
from dataclasses import dataclass, field, replace

from services.trainer.parts import Parts, Work
from services.trainer.pipelines import store
from services.trainer.pipelines.beginning import Beginning, begin
from services.trainer.pipelines.domain import (
    Decision,
    Standing,
    StepState,
    decide,
    is_final,
    move,
    why_it_waits,
)
from services.trainer.pipelines.store import Pipeline, Step
from services.trainer.pipelines.watching import failed, halt, watch
from shared import failpoints, observe, outbox
from shared.db import Connection, Database
from shared.errors import AimassError
from shared.events.pipelines import PipelineEnded, PipelineStepChanged, PipelineStopped
from shared.looking import keep_looking
from shared.outbox import Relay

POLL_SECONDS = 0.5
LOOK_SECONDS = 1.0
REST_SECONDS = 2.0
IDLE_SECONDS = 15.0


@dataclass(frozen=True)
class Driver:
    """Looks at the pipelines that go on, one after the other; several processes share them."""

    service: str
    database: Database
    relay: Relay
    parts: Parts

    async def run(self) -> None:
        await keep_looking("pipelines", self.look_at_one, POLL_SECONDS)

    async def look_at_one(self) -> bool:
        """Whether there was one to look at."""
        async with self.database.connection() as connection:
            if not await store.is_due(connection):
                return False
        async with self.database.transaction() as tx:
            pipeline = await store.due(tx)
            if pipeline is None:
                return False
            work = await self._look(tx, pipeline)
            await outbox.write(tx, work.said, work.context, self.service)
        failpoints.reach("committed", "look")
        self.relay.wake()
        await work.finish()
        return True

    async def _look(self, tx: Connection, pipeline: Pipeline) -> Work:
        """What cannot be done now is done at a later look, with all else that this one found out."""
        work = Work(tx, pipeline.origin, self.parts)
        try:
            async with tx.transaction():
                seconds = await Look(work, pipeline).take()
            await store.look_later(tx, pipeline.id, seconds)
            return work
        except AimassError as error:
            observe.log().warning("pipeline waits", pipeline=pipeline.id, error=error.message)
        except Exception as error:
            observe.log().error("pipeline not looked at", pipeline=pipeline.id, exc_info=error)
        await store.look_later(tx, pipeline.id, REST_SECONDS)
        return Work(tx, pipeline.origin, self.parts)


@dataclass
class Look:
    """One look at a pipeline that is locked."""

    work: Work
    pipeline: Pipeline
    steps: dict[str, Step] = field(default_factory=dict)

    async def take(self) -> float:
        """Seconds until the next one."""
        self.steps = {step.name: step for step in await store.steps(self.work.tx, self.pipeline.id)}
        for step in self._in(StepState.RUNNING):
            await self._keep(await self._tried(step, watch(self.work, step)))
        while await self._go_on():
            continue
        for step in self._in(StepState.WAITING):
            await self._keep(replace(step, note=why_it_waits(step.standing, self._standings)))
        return LOOK_SECONDS if self._in(StepState.RUNNING) else IDLE_SECONDS

    async def _go_on(self) -> bool:
        """Do what is decided now; whether that may have changed what is decided next."""
        decision = decide(self._standings, self.pipeline.on_failure, self.pipeline.ending)
        if decision.ended is not None:
            await self._end(decision)
            return False
        if decision.ending is not None and self.pipeline.ending is None:
            await self._stop(decision)
        before = {name: step.state for name, step in self.steps.items()}
        for name in decision.stop:
            await self._keep(await halt(self.work, self.steps[name]))
        for name in decision.skip:
            await self._keep(replace(self.steps[name], state=StepState.SKIPPED, note=self._why_skipped(name)))
        for name in decision.begin:
            step = self.steps[name]
            await self._keep(await self._tried(step, begin(Beginning(self.work, self.pipeline.id, step, self.steps))))
        return before != {name: step.state for name, step in self.steps.items()}

    async def _tried(self, step: Step, doing: Awaitable[Step]) -> Step:
        """A step that is refused has failed; raises what passes by itself."""
        said = len(self.work.said)
        try:
            async with self.work.tx.transaction():
                return await doing
        except AimassError as error:
            if error.transient:
                raise
            del self.work.said[said:]
            return failed(step, type(error).__name__, error.message)

    async def _keep(self, step: Step) -> None:
        before = self.steps[step.name]
        if step == before:
            return
        self.steps[step.name] = step
        began, ended = step.state is StepState.RUNNING, is_final(step.state)
        await store.save_step(self.work.tx, self.pipeline.id, step, began=began, ended=ended)
        if step.state is not before.state:
            move(before.state, step.state)
            self.work.say(_changed(self.pipeline.id, step))

    async def _stop(self, decision: Decision) -> None:
        assert decision.ending is not None
        self.pipeline = replace(self.pipeline, ending=decision.ending)
        await store.set_ending(self.work.tx, self.pipeline.id, decision.ending)
        self.work.say(PipelineStopped(pipeline_id=self.pipeline.id, state=decision.ending))

    async def _end(self, decision: Decision) -> None:
        assert decision.ended is not None
        await store.end(self.work.tx, self.pipeline.id, decision.ended)
        self.work.say(PipelineEnded(pipeline_id=self.pipeline.id, name=self.pipeline.name, state=decision.ended))

    def _why_skipped(self, name: str) -> str:
        bad = [other for other in self.steps[name].standing.after if is_final(self.steps[other].state)]
        first = next(other for other in bad if self.steps[other].state is not StepState.SUCCEEDED)
        return f"'{first}' {WORDS[self.steps[first].state]}"

    @property
    def _standings(self) -> Sequence[Standing]:
        return [step.standing for step in self.steps.values()]

    def _in(self, state: StepState) -> list[Step]:
        return [step for step in self.steps.values() if step.state is state]


WORDS = {
    StepState.FAILED: "has failed",
    StepState.CANCELLED: "was cancelled",
    StepState.SKIPPED: "was left out",
}


def _changed(pipeline_id: str, step: Step) -> PipelineStepChanged:
    return PipelineStepChanged(
        pipeline_id=pipeline_id,
        step=step.name,
        kind=step.spec.kind,
        state=step.state,
        task_id=step.task_id,
        model=step.model,
        version=step.version,
        note=step.note,
        error_class=step.error_class,
        error_message=step.error_message,
    )
