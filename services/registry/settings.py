"""The settings of registry, prefix REGISTRY_."""

from pydantic import Field
from pydantic_settings import SettingsConfigDict

from shared.settings import ServiceSettings


class Settings(ServiceSettings):
    """How much the check of a brought file may take, and how often garbage is collected."""

    model_config = SettingsConfigDict(env_prefix="REGISTRY_", extra="ignore", frozen=True)

    check_seconds: float = Field(default=15, gt=0, le=18, description="time to check a file that somebody brought")
    check_memory: int = Field(default=4 * 1024**3, ge=1024**3, description="bytes of address space of that check")
    max_checks: int = Field(default=2, ge=1, description="files checked at once; each holds a database connection")
    file_bytes: int = Field(default=256 * 1024**2, ge=1, description="size of a model that somebody brings")
    collect_hours: float = Field(default=24, ge=0, description="between collections of garbage; 0: only when asked")
    storage_seconds: float = Field(default=10, ge=0, description="between two looks at what projects keep; 0: never")
    collect_grace_hours: float = Field(default=24, ge=1, description="how long what nobody names stays at least")
