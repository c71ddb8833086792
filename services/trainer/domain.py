"""What a training task is, from its acceptance to the event that ends it; pure."""

from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from library.base import Model
from shared.errors import InvalidInput
from shared.events.common import Signature
from shared.events.training import TrainingCompleted, TrainingRequested
from shared.names import Digest, Slug

SEED = "seed"
SEEDS = 2**53
DEFAULT_SEED = 0


class Plan(BaseModel):
    """All that it takes to train the same model again; `parameters` are the whole configuration and the seed."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    model: Slug
    parameters: dict[str, Any]
    auto_promote: bool
    dataset: Slug
    dataset_digest: Digest | None = None

    @property
    def seed(self) -> int:
        return int(self.parameters[SEED])

    @property
    def config(self) -> dict[str, Any]:
        return {name: value for name, value in self.parameters.items() if name != SEED}


class Trained(BaseModel):
    """What the process of a training says of its result."""

    signature: Signature
    metrics: dict[str, float]
    labels: tuple[str, ...]
    code_version: str
    weights: int = Field(ge=0)


def plan(model: Model[Any], config: Mapping[str, Any], auto_promote: bool) -> Plan:
    """Complete and check a configuration, `config.seed` included: without one, the same request gives the same model.

    Raises InvalidInput naming the field.
    """
    given = dict(config)
    seed = given.pop(SEED, DEFAULT_SEED)
    if type(seed) is not int or not 0 <= seed < SEEDS:
        raise InvalidInput(f"config.seed: must be a whole number from 0 to {SEEDS - 1}", field="config.seed")
    parameters = model.validate(given).model_dump(mode="json") | {SEED: seed}
    return Plan(model=model.name, parameters=parameters, auto_promote=auto_promote, dataset=model.dataset)


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
