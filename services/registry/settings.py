"""The settings of registry, prefix REGISTRY_."""

from pydantic_settings import SettingsConfigDict

from shared.settings import ServiceSettings


class Settings(ServiceSettings):
    """What registry needs: nothing beyond bus, database and ops port."""

    model_config = SettingsConfigDict(env_prefix="REGISTRY_")
