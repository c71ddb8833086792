"""The settings of the gateway."""

from pydantic import Field
from pydantic_settings import SettingsConfigDict

from shared.settings import ServiceSettings


class Settings(ServiceSettings):
    """Where it listens, how long a prediction may take, and how much it takes on at once."""

    model_config = SettingsConfigDict(env_prefix="GATEWAY_", extra="ignore", frozen=True)

    host: str = "127.0.0.1"
    port: int = Field(ge=1, le=65535)
    infer_seconds: float = Field(default=10, gt=0, description="deadline of a request that names none")
    infer_seconds_max: float = Field(default=120, gt=0)
    max_in_flight: int = Field(default=1024, ge=1, description="predictions waited for at once")
    max_followers: int = Field(default=100, ge=1, description="event streams open at once")
    credentials_stale_seconds: float = Field(default=5, gt=0)
