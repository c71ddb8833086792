"""What a pipeline can be told: named steps, each a task or a step of policy, and what each waits for."""

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from shared.names import Slug
from shared.optimisation import Optimisation
from shared.tables import TableFormat
from shared.tasks.terms import MONTH, OwnTerms
from shared.training import TrainingOptions
from shared.tuning import Budget, Objective, Pruner, Range, Sampler

MOST_STEPS = 50
DAY = 24 * 3600.0
MOST = 2**31 - 1
OnFailure = Literal["stop", "continue"]
PipelineId = Annotated[str, Field(pattern=r"^pipeline-[0-9a-f-]{36}$")]


class Step(BaseModel):
    """A step by its name; it waits until the steps in `after`, and the one that it is `of`, have succeeded."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    name: Slug
    after: tuple[Slug, ...] = Field(default=(), max_length=MOST_STEPS, description="names of steps")

    @property
    def uses(self) -> tuple[str, ...]:
        """The steps whose results it needs."""
        return ()


class Lasting(Step):
    """A step that waits for what others do: it fails when that has not come after so many seconds."""

    seconds: float | None = Field(default=DAY, gt=0, le=MONTH)


class TrainStep(Step, OwnTerms):
    """Train a member, as `POST /api/v1/tasks` does; `config_of` is a study before, whose best parameters are its own.

    Its version is promoted by a step of kind `promote` alone.
    """

    kind: Literal["train"]
    model: Slug
    config: dict[str, Any] = {}
    config_of: Slug | None = None
    training: TrainingOptions = TrainingOptions()
    dataset: Slug | None = None

    @property
    def uses(self) -> tuple[str, ...]:
        return (self.config_of,) if self.config_of else ()


class TuneStep(Step, OwnTerms):
    """Search parameters of a member by many trainings, of which the best becomes a version."""

    kind: Literal["tune"]
    model: Slug
    config: dict[str, Any] = {}
    training: TrainingOptions = TrainingOptions()
    space: dict[str, Range] = {}
    sampler: Sampler = Sampler.TPE
    objectives: tuple[Objective, ...] = Field(default=(), max_length=5)
    pruner: Pruner = Pruner.NONE
    budget: Budget = Budget()
    parallel: int = Field(default=1, ge=1, le=64)
    seed: int = Field(default=0, ge=0, lt=2**53)
    dataset: Slug | None = None


class OfVersion(Step):
    """A step on the version of a step before, or on one that is there already."""

    of: Slug | None = Field(default=None, description="a step with a version")
    model: Slug | None = None
    version: int | None = Field(default=None, ge=1, le=MOST)

    @property
    def uses(self) -> tuple[str, ...]:
        return (self.of,) if self.of else ()


class OptimiseStep(OfVersion):
    """Make a smaller or faster version of one."""

    kind: Literal["optimise"]
    how: Optimisation


class BatchStep(OfVersion):
    """Run the rows of a data set through a version; with a `model` alone through the one that serves."""

    kind: Literal["batch"]
    dataset: Slug
    part: Slug = "test"
    output: TableFormat | None = None


class EvaluateStep(Lasting):
    """Wait for the evaluation of a version as served; with `must_pass` one that its gate refuses is a failure."""

    kind: Literal["evaluate"]
    of: Slug
    must_pass: bool = True

    @property
    def uses(self) -> tuple[str, ...]:
        return (self.of,)


class PromoteStep(Step):
    """Make a version champion that passed its evaluation, by itself or once somebody has approved of it."""

    kind: Literal["promote"]
    of: Slug
    policy: Literal["gate", "approval"] = "gate"

    @property
    def uses(self) -> tuple[str, ...]:
        return (self.of,)


class DeployStep(Lasting):
    """Wait until the version that was promoted answers all requests that name no version."""

    kind: Literal["deploy"]
    of: Slug

    @property
    def uses(self) -> tuple[str, ...]:
        return (self.of,)


AnyStep = Annotated[
    TrainStep | TuneStep | OptimiseStep | BatchStep | EvaluateStep | PromoteStep | DeployStep,
    Field(discriminator="kind"),
]


class Definition(BaseModel):
    """A pipeline as it was asked for. After a failure `stop` ends all that runs; `continue` only leaves out what needs
    the step that failed.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")
    name: Slug = "pipeline"
    on_failure: OnFailure = "stop"
    steps: tuple[AnyStep, ...] = Field(min_length=1, max_length=MOST_STEPS)
