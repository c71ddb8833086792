"""Settings of evaluator, prefix EVALUATOR_."""

from pydantic import Field
from pydantic_settings import SettingsConfigDict

from shared.settings import TaskSettings


class Settings(TaskSettings):
    """How evaluator asks the data plane."""

    model_config = SettingsConfigDict(env_prefix="EVALUATOR_", extra="ignore", frozen=True)

    batch_size: int = Field(default=32, ge=1, le=64)
    concurrency: int = Field(default=4, ge=1, le=64)
    request_seconds: float = Field(default=10, gt=0, description="who answers later is asked less at once")
    request_seconds_max: float = Field(default=60, gt=0, description="and is given twice the time, up to this")
    patience_seconds: float = Field(default=30, gt=0)
