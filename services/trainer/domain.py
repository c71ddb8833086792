"""What the tasks of trainer are, from their acceptance to the event that ends them; pure."""

from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

import library
from library.base import Config, Model, TaskType
from library.training.best import stopping_measures
from shared.commands.trainer import TrainModel
from shared.errors import Conflict, InvalidInput
from shared.events.common import Signature
from shared.events.training import OptimisationCompleted, TrainingCompleted, TrainingRequested
from shared.names import Digest, Slug
from shared.optimisation import Int8Static, Optimisation
from shared.rpc.registry import VersionView
from shared.rpc.trainer import CloneTask, SubmitTask
from shared.tasks.terms import Terms, needs
from shared.training import TRAINING, TrainingOptions, invalid, training_options

KIND = "train"
OPTIMISE = "optimise"
SEED = "seed"
SEEDS = 2**53
DEFAULT_SEED = 0
LEAST_SHARE = 2


class Trained(BaseModel):
    """What the process of a training says of its result."""

    signature: Signature
    metrics: dict[str, float]
    labels: tuple[str, ...]
    code_version: str
    weights: int = Field(ge=0)
    epoch: int = Field(default=0, ge=0)
    record: dict[str, Any] = {}


class Mark(BaseModel):
    """That a training is a trial of a study: only the one that wins becomes a version, by what it kept of its end."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    number: int
    parameters: dict[str, Any]
    generation: int | None = None
    pruned: int | None = None
    paused: bool = False
    trained: Trained | None = None


class Plan(BaseModel):
    """All that it takes to train the same model again; `parameters` are the whole configuration, the seed, and what
    else the training was told that is not the default. What only `reproduces` a task makes no version.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    model: Slug
    parameters: dict[str, Any]
    auto_promote: bool
    dataset: Slug
    dataset_digest: Digest | None = None
    reproduces: str | None = None
    trial: Mark | None = None

    @property
    def is_of_library(self) -> bool:
        """Whether the data set can be made anew wherever the library is."""
        return self.dataset in library.data_sets()

    @property
    def seed(self) -> int:
        return int(self.parameters[SEED])

    @property
    def config(self) -> dict[str, Any]:
        return {name: value for name, value in self.parameters.items() if name not in (SEED, TRAINING)}

    @property
    def training(self) -> TrainingOptions:
        return TrainingOptions.model_validate(self.parameters.get(TRAINING, {}))


class Brought(BaseModel):
    """What it takes to make a data set of a file: its digest, and the parameters that people see."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    dataset: Slug
    file: Digest
    parameters: dict[str, Any]


class Improved(BaseModel):
    """What it takes to optimise a version: its file and data set, and how; `parameters` are what people see."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    model: Slug
    version: int
    file: Digest
    how: Optimisation
    parameters: dict[str, Any]
    auto_promote: bool
    dataset: Slug | None = None
    dataset_digest: Digest | None = None

    @property
    def calibration(self) -> str | None:
        """The part of the data set that ranges of activations are taken from."""
        return self.how.part if isinstance(self.how, Int8Static) else None


def ordered(command: TrainModel) -> SubmitTask:
    """The request that a command stands for; its names are looked at where they are looked up."""
    return SubmitTask.model_construct(
        model=command.model,
        config=command.parameters,
        auto_promote=command.auto_promote,
        dataset=command.dataset or None,
        terms=Terms(),
    )


def alike(kind: str, model: str, spec: Mapping[str, Any], wanted: CloneTask) -> SubmitTask:
    """The request for a training like an earlier one; raises Conflict for a task of another kind."""
    if kind != KIND:
        raise Conflict(f"a task of kind {kind} cannot be cloned: only trainings can", field="task_id")
    promote = spec["auto_promote"] if wanted.auto_promote is None else wanted.auto_promote
    return SubmitTask(
        model=model,
        config=spec["parameters"] | wanted.config,
        auto_promote=promote,
        dataset=spec["dataset"],
        terms=wanted.terms,
    )


def brought(name: str, like: str, file: str, format_: str | None) -> Brought:
    """Raises InvalidInput for a name of the library's, NotFound for a data set to be like that it does not have."""
    if name in library.data_sets():
        raise InvalidInput(f"name: {name!r} is a data set of the library; give yours another name", field="name")
    library.data_set(like)
    parameters = {"dataset": name, "like": like} | ({"format": format_} if format_ else {})
    return Brought(dataset=name, file=file, parameters=parameters)


def improved(version: VersionView, how: Optimisation, auto_promote: bool) -> Improved:
    """Raises Conflict for an archived version, InvalidInput where rows are needed and there are none."""
    if version.archived:
        raise Conflict(f"version {version.version} of {version.model!r} is archived", field="version")
    if isinstance(how, Int8Static) and not version.dataset:
        raise InvalidInput(
            f"how.method: int8-static needs rows to take ranges from, and version {version.version} of "
            f"{version.model!r} has no data set: upload it with ?dataset=, or ask for int8-dynamic",
            field="how.method",
        )
    return Improved(
        model=version.model,
        version=version.version,
        file=version.digest,
        how=how,
        parameters={"version": version.version, **how.model_dump(mode="json")},
        auto_promote=auto_promote,
        dataset=version.dataset or None,
        dataset_digest=version.dataset_digest or None,
    )


def fits(model: Model[Any], name: str, facts: Mapping[str, Any]) -> None:
    """Raises InvalidInput where a data set has not the schema and the labels of that which a model learns from."""
    own = library.data_set(model.dataset)
    if (facts.get("schema"), facts.get("labels")) != (own.schema.model_dump(mode="json"), list(own.labels)):
        raise InvalidInput(
            f"dataset: {name!r} has not the columns and labels of '{own.name}', which {model.name} learns from: "
            f"bring it with ?like={own.name}",
            field="dataset",
        )


def plan(
    model: Model[Any], config: Mapping[str, Any], auto_promote: bool, training: Mapping[str, Any] | None = None
) -> Plan:
    """Complete and check a configuration, `config.seed` included: without one, the same request gives the same model.

    The parameters of a plan, `training` among them, give the same plan. Raises InvalidInput naming the field.
    """
    given = dict(config)
    seed, told = given.pop(SEED, DEFAULT_SEED), given.pop(TRAINING, {})
    if type(seed) is not int or not 0 <= seed < SEEDS:
        raise InvalidInput(f"config.seed: must be a whole number from 0 to {SEEDS - 1}", field="config.seed")
    options = training_options(training or told)
    if options.early_stopping:
        stopping_measures(model.gate, options.early_stopping)
    complete = model.validate(given)
    check_workers(model, complete, options.workers)
    parameters = complete.model_dump(mode="json") | {SEED: seed}
    if differing := options.told():
        parameters[TRAINING] = differing
    return Plan(model=model.name, parameters=parameters, auto_promote=auto_promote, dataset=model.dataset)


def check_workers(model: Model[Any], config: Config, workers: int) -> None:
    """Raises InvalidInput where the batches of a training cannot be divided among so many."""
    if workers == 1:
        return
    if not config.epochs:
        raise invalid("workers", f"{model.name} is not trained without epochs: leave it at 1")
    if model.needs_whole_batches or model.task_type is TaskType.EMBEDDING:
        raise invalid("workers", f"{model.name} compares the items of a batch with each other: leave it at 1")
    if workers * LEAST_SHARE > config.batch_size:
        most = config.batch_size // LEAST_SHARE
        raise invalid("workers", f"a batch of {config.batch_size} items has {LEAST_SHARE} for each of {most} at most")


def together(terms: Terms, workers: int) -> Terms:
    """The terms of a training by so many workers: people say what each takes. Raises InvalidInput."""
    if workers == 1:
        return terms
    each = needs(KIND, terms)
    if each.gpus % 1:
        raise InvalidInput(
            f"resources.gpus: {workers} workers take whole GPUs, not {each.gpus:g}", field="resources.gpus"
        )
    try:
        return terms.model_copy(update={"resources": each * workers})
    except ValidationError as error:
        name = error.errors()[0]["loc"][0]
        raise InvalidInput(f"resources.{name}: too much for {workers} workers", field=f"resources.{name}") from error


def requested(task_id: str, accepted: Plan) -> TrainingRequested:
    return TrainingRequested(task_id=task_id, model=accepted.model, parameters=accepted.parameters, seed=accepted.seed)


def completed(task_id: str, done: Plan, model: Model[Any], trained: Trained, digest: str) -> TrainingCompleted:
    return TrainingCompleted(
        task_id=task_id,
        model=done.model,
        digest=digest,
        dataset=done.dataset,
        dataset_digest=done.dataset_digest or "",
        task_type=model.task_type,
        code_version=trained.code_version,
        parameters=done.parameters,
        metrics=trained.metrics,
        labels=trained.labels,
        signature=trained.signature,
        gate=model.gate.to_wire(),
        card=model.card.model_dump(),
        auto_promote=done.auto_promote,
    )


def optimised(task_id: str, done: Improved, metrics: Mapping[str, float], digest: str) -> OptimisationCompleted:
    return OptimisationCompleted(
        task_id=task_id,
        model=done.model,
        version=done.version,
        digest=digest,
        parameters=done.how.model_dump(mode="json"),
        metrics=dict(metrics),
        auto_promote=done.auto_promote,
    )
