"""What a tuning study can be told: ranges, who draws from them, what is wanted, and what it may cost."""

from enum import StrEnum
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, StringConstraints

from shared.tasks.terms import MONTH

MOST_TRIALS = 1000
Direction = Literal["minimize", "maximize"]
Metric = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_.@/-]{1,100}$")]
Text = Annotated[str, StringConstraints(max_length=200)]
Choice = bool | int | float | Text


class Sampler(StrEnum):
    """Who draws the parameters of the next trial."""

    TPE = "tpe"
    CMAES = "cmaes"
    RANDOM = "random"
    GRID = "grid"


class Pruner(StrEnum):
    """Who ends trials early that fall behind others at the same epoch."""

    NONE = "none"
    ASHA = "asha"
    HYPERBAND = "hyperband"
    MEDIAN = "median"


class Part(BaseModel):
    """A part of what a study is told."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class Range(Part):
    """Where a parameter may lie: within bounds, or one of some choices; what is not given is as the member has it.

    `points` says how many values of a range between bounds a grid has.
    """

    minimum: float | None = None
    maximum: float | None = None
    scale: Literal["linear", "log"] | None = None
    choices: tuple[Choice, ...] | None = Field(default=None, min_length=1, max_length=100)
    points: int = Field(default=3, ge=2, le=100)


class Objective(Part):
    """A metric of the validation part, and which end of it is better; by itself only where the member says which."""

    metric: Metric
    direction: Direction | None = None


class Budget(Part):
    """When a study is over: after so many trials or seconds, or when the metric has reached a target."""

    trials: int = Field(default=20, ge=1, le=MOST_TRIALS)
    seconds: float | None = Field(default=None, gt=0, le=MONTH)
    target: float | None = None
