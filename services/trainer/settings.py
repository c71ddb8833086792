"""The settings of trainer, prefix TRAINER_."""

from pydantic_settings import SettingsConfigDict

from shared.settings import TaskSettings


class Settings(TaskSettings):
    """What trainer needs: nothing beyond what every service with tasks needs."""

    model_config = SettingsConfigDict(env_prefix="TRAINER_", extra="ignore", frozen=True)
