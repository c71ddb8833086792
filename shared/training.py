"""What a training can be told beside the config of its member: how often it saves, when it ends, how it computes."""

from collections.abc import Mapping
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from shared.errors import InvalidInput

TRAINING = "training"
Mode = Literal["min", "max"]


class Told(BaseModel):
    """A frozen part of what a training is told."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class EarlyStopping(Told):
    """End when `patience` evaluations in turn were not better by more than `min_delta`.

    Without a metric it is the one that tells the best checkpoint; `mode` says of another one which end is better.
    """

    patience: int = Field(ge=1, le=10_000)
    min_delta: float = Field(default=0.0, ge=0)
    metric: str = Field(default="", max_length=100)
    mode: Mode | None = None


class TrainingOptions(Told):
    """How a training runs; the defaults are what every training did before there was a choice.

    Checkpoints come after each epoch, and in its middle after so many steps or minutes. `model` says whose weights are
    exported: those of the last epoch, or of the best by the gate's metric on the validation part. With `accumulate` a
    step takes so many batches; `clip_norm` bounds the norm of its gradient; `profile_steps` are recorded as a trace.
    So many `workers`, processes of their own, have a share of each batch.
    """

    checkpoint_steps: int | None = Field(default=None, ge=1)
    checkpoint_minutes: float | None = Field(default=None, gt=0, le=10_080)
    evaluate_every: int = Field(default=1, ge=1, le=10_000)
    insights_every: int | None = Field(default=None, ge=1, le=10_000)
    early_stopping: EarlyStopping | None = None
    model: Literal["last", "best"] = "last"
    precision: Literal["float32", "bfloat16", "float16"] = "float32"
    device: Literal["auto", "cpu", "cuda"] = "auto"
    accumulate: int = Field(default=1, ge=1, le=1024)
    clip_norm: float | None = Field(default=None, gt=0)
    deterministic: bool = True
    profile_steps: int | None = Field(default=None, ge=1, le=200)
    workers: int = Field(default=1, ge=1, le=64)

    def told(self) -> dict[str, Any]:
        """Only what differs from the defaults, so that a training that is told nothing looks as ever."""
        return self.model_dump(mode="json", exclude_defaults=True)


def training_options(given: Mapping[str, Any]) -> TrainingOptions:
    """Raises InvalidInput that names the field as `training.<name>`."""
    try:
        found = TrainingOptions.model_validate(given)
    except ValidationError as error:
        first = error.errors()[0]
        raise invalid(".".join(map(str, first["loc"])), first["msg"]) from error
    if (found.precision, found.device) == ("float16", "cpu"):
        raise invalid("precision", "float16 needs a GPU; on the processor there are float32 and bfloat16")
    return found


def invalid(name: str, why: str) -> InvalidInput:
    """What to say of a wrong option."""
    field = f"{TRAINING}.{name}" if name else TRAINING
    return InvalidInput(f"{field}: {why}", field=field)
