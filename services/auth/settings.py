"""The settings of auth."""

from pathlib import Path

from pydantic_settings import SettingsConfigDict

from shared.settings import ServiceSettings


class Settings(ServiceSettings):
    """The admin key that is made at the first start is written to `admin_key_file`, for its owner's eyes only."""

    model_config = SettingsConfigDict(env_prefix="AUTH_", extra="ignore", frozen=True)

    admin_key_file: Path
