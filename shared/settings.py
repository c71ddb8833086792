"""The settings that all services share; each service derives its own class with its own prefix."""

import os
import socket
from pathlib import Path
from typing import Self
from urllib.parse import urlsplit

from pydantic import AnyHttpUrl, Field, SecretStr, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from shared.strength import Guarded, weakness

SECRETS_DIR = found if (found := Path("/run/secrets")).is_dir() else None

MEMORY_SHARE = 0.8


def usable_memory() -> int:
    """Bytes of memory that tasks may take together: most of what the node has, or its container is given."""
    whole = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    limit = Path("/sys/fs/cgroup/memory.max")
    given = limit.read_text().strip() if limit.is_file() else "max"
    return int(MEMORY_SHARE * (min(whole, int(given)) if given.isdigit() else whole))


def gpus() -> float:
    """How many NVIDIA GPUs the node has."""
    return float(sum(path.name.removeprefix("nvidia").isdigit() for path in Path("/dev").glob("nvidia*")))


class ServiceSettings(BaseSettings):
    """What a service needs to reach the bus, its database and its operators.

    In a container a secret may be a file of the setting's full name in /run/secrets; the environment goes first.
    """

    model_config = SettingsConfigDict(extra="ignore", frozen=True, secrets_dir=SECRETS_DIR)

    nats_url: str = "nats://127.0.0.1:4222"
    nats_user: str = ""
    nats_password: SecretStr = SecretStr("")
    nats_ca: Path | None = Field(default=None, description="file of the CA of the bus; with it, TLS only")
    nats_cert: Path | None = Field(default=None, description="file of this service's own certificate for the bus")
    nats_key: Path | None = Field(default=None, description="file of its key")
    database_url: SecretStr = SecretStr("")
    database_pool: int = Field(default=6, ge=1, le=100)
    ops_host: str = "127.0.0.1"
    ops_port: int = Field(default=0, ge=0, le=65535)
    artifacts_url: str = "file:///tmp/aimass-artifacts"
    home_dir: Path = Path()
    seal_keys_file: Path | None = Field(
        default=None, description="keys that seal secrets; without it `seal.keys` in the home folder"
    )
    log_level: str = "INFO"
    trace_file: Path | None = None
    trace_endpoint: AnyHttpUrl | None = Field(default=None, description="OTLP over HTTP, as http://host:4318/v1/traces")
    trace_ratio: float = Field(default=0.01, ge=0, le=1)
    drain_seconds: float = Field(default=15, ge=0)
    failpoints: Path | None = None

    @classmethod
    def variable(cls, field: str) -> str:
        """The name by which a setting is given in the environment."""
        return f"{cls.model_config.get('env_prefix', '')}{field}".upper()

    def guarded(self) -> tuple[Guarded, ...]:
        """The secrets that must not be guessed."""
        database = self.database_url.get_secret_value()
        bus_password = Guarded(self.variable("nats_password"), self.nats_url, self.nats_password.get_secret_value())
        return bus_password, Guarded(self.variable("database_url"), database, urlsplit(database).password or "")

    @model_validator(mode="after")
    def _secrets_are_strong(self) -> Self:
        if found := next(filter(None, map(weakness, self.guarded())), ""):
            raise ValueError(found)
        return self

    @property
    def seal_keys(self) -> Path:
        return self.seal_keys_file or self.home_dir / "seal.keys"


class TaskSettings(ServiceSettings):
    """Settings of a service that runs tasks."""

    lease_seconds: float = Field(default=15, gt=0)
    task_workers: int = Field(default=1, ge=1, le=1000, description="tasks of this process at once")
    task_node: str = Field(default_factory=socket.gethostname, description="whose cores and memory its tasks take")
    task_cores: float = Field(
        default_factory=lambda: float(os.cpu_count() or 1), gt=0, description="cores that its tasks may take together"
    )
    task_memory: int = Field(default_factory=usable_memory, gt=0, description="bytes that they may take")
    task_gpus: float = Field(default_factory=gpus, ge=0, description="GPUs that they may take")
    task_threads: int = Field(default=1, ge=1, le=256)
