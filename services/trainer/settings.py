"""The settings of trainer, prefix TRAINER_."""

from pydantic import Field, PositiveFloat
from pydantic_settings import SettingsConfigDict

from shared.settings import TaskSettings


class Settings(TaskSettings):
    """How many tasks run at once is up to what their node has; `project_weights` are of the fair shares."""

    model_config = SettingsConfigDict(env_prefix="TRAINER_", extra="ignore", frozen=True)

    task_workers: int = Field(default=64, ge=1, le=1000, description="tasks of this process at once")
    project_weights: dict[str, PositiveFloat] = Field(default={}, description="shares of projects, 1 where not given")
    run_silence_hours: float = Field(default=24, gt=0, description="a run whose client says nothing for so long failed")
