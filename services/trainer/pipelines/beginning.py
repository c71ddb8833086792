"""How a step begins: its task is accepted, or what it waits for is known; twice is as once."""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from services.trainer.acceptance import accept_optimisation, accept_training, planned_training
from services.trainer.domain import KIND as TRAIN
from services.trainer.parts import Work
from services.trainer.pipelines.domain import StepState
from services.trainer.pipelines.store import Step
from services.trainer.tuning.handlers import accept_study, planned_study
from shared.names import Slug
from shared.pipelines import AnyStep, BatchStep, OptimiseStep, TrainStep, TuneStep
from shared.rpc.inference import SubmitBatch
from shared.rpc.trainer import SubmitOptimisation, SubmitStudy, SubmitTask
from shared.tasks import store as tasks
from shared.tasks.store import Task, new_task_id
from shared.tasks.terms import OwnTerms, Terms

OWN_TERMS = set(OwnTerms.model_fields)


@dataclass(frozen=True)
class Beginning:
    """A step that begins, the pipeline that it is of, and all steps of that by name."""

    work: Work
    pipeline_id: str
    step: Step
    steps: Mapping[str, Step]

    def source(self) -> Step:
        """The step before whose version is meant."""
        return self.steps[self.step.spec.uses[0]]

    def version(self) -> tuple[str, int | None]:
        """Model and number of the version that is meant."""
        spec = self.step.spec
        if not spec.uses:
            assert isinstance(spec, OptimiseStep | BatchStep) and spec.model
            return spec.model, spec.version
        return self.source().model, self.source().version


async def begin(beginning: Beginning) -> Step:
    """The step, running; raises what its task is refused for."""
    begun = await BEGINNINGS[beginning.step.spec.kind](beginning)
    return replace(begun, state=StepState.RUNNING, note="")


async def check_task(work: Work, spec: AnyStep) -> None:
    """Raises what the step's task would be refused for, as far as that is known before it begins."""
    if isinstance(spec, TrainStep):
        await planned_training(work, _training(spec, spec.config))
    if isinstance(spec, TuneStep):
        await planned_study(work, _study(spec))


async def _train(beginning: Beginning) -> Step:
    spec = beginning.step.spec
    assert isinstance(spec, TrainStep)
    order = _training(spec, await _config(beginning, spec))
    return _of(beginning, await accept_training(beginning.work, new_task_id(TRAIN), order, beginning.pipeline_id))


async def _tune(beginning: Beginning) -> Step:
    assert isinstance(beginning.step.spec, TuneStep)
    order = _study(beginning.step.spec)
    return _of(beginning, await accept_study(beginning.work, order, beginning.pipeline_id))


async def _optimise(beginning: Beginning) -> Step:
    spec, (model, version) = beginning.step.spec, beginning.version()
    assert isinstance(spec, OptimiseStep) and version is not None
    order = SubmitOptimisation(model=model, version=version, how=spec.how)
    return _of(beginning, await accept_optimisation(beginning.work, order, beginning.pipeline_id))


async def _batch(beginning: Beginning) -> Step:
    """The key makes a repeat, after whatever ended us in between, the same batch."""
    spec, (model, version) = beginning.step.spec, beginning.version()
    assert isinstance(spec, BatchStep)
    given = {"dataset": spec.dataset, "part": spec.part, "output": spec.output}
    order = SubmitBatch(model=model, version=version, pipeline_id=beginning.pipeline_id, **given)
    key = f"{beginning.pipeline_id}/{spec.name}"
    context = replace(beginning.work.context, idempotency_key=key)
    accepted = await beginning.work.parts.bus.ask(order, context)
    return replace(beginning.step, task_id=accepted.id, model=model, version=version)


async def _follow(beginning: Beginning) -> Step:
    """Steps of policy go on with the version of the step before."""
    source = beginning.source()
    return replace(beginning.step, model=source.model, version=source.version)


BEGINNINGS: dict[str, Callable[[Beginning], Awaitable[Step]]] = {
    "train": _train,
    "tune": _tune,
    "optimise": _optimise,
    "batch": _batch,
    "evaluate": _follow,
    "promote": _follow,
    "deploy": _follow,
}


def _of(beginning: Beginning, task: Task) -> Step:
    return replace(beginning.step, task_id=task.id, model=task.model)


async def _config(beginning: Beginning, spec: TrainStep) -> dict[str, Any]:
    """The config, on top of what was best in the study that it names."""
    if spec.config_of is None:
        return spec.config
    study = await tasks.find(beginning.work.tx, beginning.work.project, beginning.source().task_id)
    fixed: dict[str, Any] = study.spec["parameters"]["config"]
    best: dict[str, Any] = study.result["parameters"]
    return fixed | best | spec.config


def _training(spec: TrainStep, config: dict[str, Any]) -> SubmitTask:
    return SubmitTask(
        model=spec.model,
        config=config,
        training=spec.training.told(),
        auto_promote=False,
        dataset=spec.dataset,
        terms=_terms(spec),
    )


def _study(spec: TuneStep) -> SubmitStudy:
    own: set[Slug] = {*OWN_TERMS, "name", "kind", "after", "training"}
    facts = {name: getattr(spec, name) for name in TuneStep.model_fields if name not in own}
    return SubmitStudy(**facts, training=spec.training.told(), auto_promote=False, terms=_terms(spec))


def _terms(spec: OwnTerms) -> Terms:
    return Terms(**spec.model_dump(include=OWN_TERMS))
