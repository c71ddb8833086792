"""The settings of monitor, prefix MONITOR_."""

from pydantic import Field
from pydantic_settings import SettingsConfigDict

from shared.settings import ServiceSettings


class Settings(ServiceSettings):
    """How long monitor keeps what it hears, and how often it looks at the host."""

    model_config = SettingsConfigDict(env_prefix="MONITOR_")

    prediction_days: float = Field(default=7, gt=0)
    timeline_days: float = Field(default=30, gt=0)
    dead_letter_days: float = Field(default=90, gt=0)
    prune_seconds: float = Field(default=600, gt=0)
    quota_seconds: float = Field(default=2, gt=0, description="between two looks at what projects have used")
    board_seconds: float = Field(default=15, gt=0, description="between two looks for the operators' page")
    host_seconds: float = Field(default=2, gt=0)
