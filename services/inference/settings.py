"""Settings of inference, prefix INFERENCE_."""

import socket
from pathlib import Path
from typing import Literal

from pydantic import Field, SecretStr
from pydantic_settings import SettingsConfigDict

from services.inference.admission import Limits
from shared.settings import TaskSettings
from shared.strength import Guarded


class Settings(TaskSettings):
    """Where Triton is and how much this node takes on."""

    model_config = SettingsConfigDict(env_prefix="INFERENCE_", extra="ignore", frozen=True)

    triton_url: str = "http://127.0.0.1:8000"
    triton_grpc: str = Field(default="127.0.0.1:8001", description="where Triton is told to load and unload")
    triton_repository: Path = Path("triton")
    triton_backend: Literal["python", "onnxruntime"] = "python"
    triton_least: str = Field(
        default="2.51.0", pattern=r"^\d+(\.\d+){0,2}$", description="an older Triton gets no models: it has known holes"
    )
    triton_access_header_name: str = "aimass-access"
    triton_access_header_value: SecretStr = SecretStr("")
    node: str = Field(default_factory=socket.gethostname)
    node_lease_seconds: float = Field(default=10, gt=0)
    max_waiting: int = Field(default=2048, ge=1, description="unanswered requests of a node")
    max_waiting_project: int = Field(default=1024, ge=1, description="of a project")
    max_waiting_version: int = Field(default=512, ge=1, description="of a version")
    max_wait_seconds: float = Field(default=2, gt=0, description="who would probably wait longer is refused at once")
    lost_seconds: float = Field(
        default=5, gt=0, description="a call to Triton is lost without an answer so long after its deadline"
    )
    calls_at_once: int = Field(default=1, ge=1, description="calls to Triton under way for one version")
    memory_mb: int = Field(default=0, ge=0, description="for all models of a node, in MiB; 0 for no limit")
    idle_seconds: float = Field(default=1, ge=0, description="a version not asked for so long may make room")
    warm_up_seconds: float = Field(default=30, gt=0, description="requests wait for a parked version at most so long")
    instances_max: int = Field(default=8, ge=1, description="of a version on a node, whatever is wanted")
    scale_wait_seconds: float = Field(default=0.1, gt=0, description="who waits longer is reason for another instance")
    scale_up_seconds: float = Field(default=1, ge=0, description="high demand for so long means one instance more")
    scale_down_seconds: float = Field(default=60, ge=0, description="low demand for so long means one instance less")
    instance_mb: int = Field(default=80, ge=0, description="expected of an instance, beside its file, before measured")
    cached_models: frozenset[str] = Field(
        default=frozenset(), description="project/model, or *, of which answers are kept: equal inputs, equal outputs"
    )
    cache_bytes: int = Field(default=64 * 1024 * 1024, ge=1, description="of all answers that are kept")
    staged_cap: int = Field(default=3, ge=1)
    staged_hours: float = Field(default=24, gt=0)
    deferred_at_once: int = Field(default=16, ge=1, description="deferred requests that a node works on at once")
    deferred_max: int = Field(default=1000, ge=1, description="deferred requests of a project without an answer")
    deferred_bytes: int = Field(default=1024**3, ge=1, description="size of their bodies together")
    deferred_hours: float = Field(default=24, gt=0, description="for so long a deferred request is tried again")
    deferred_lease_seconds: float = Field(default=10, gt=0)
    deferred_attempt_seconds: float = Field(default=120, gt=0, description="deadline of an attempt")
    deferred_answer_hours: float = Field(default=24, gt=0, description="for so long answers are kept")
    webhook_inside: bool = Field(
        default=False, description="webhooks may be http, and private, loopback and link-local addresses"
    )
    webhook_first_seconds: float = Field(default=5, gt=0, description="pause after the first attempt, then it doubles")
    webhook_hours: float = Field(default=24, gt=0, description="for so long an answer is tried to be posted")
    webhook_timeout_seconds: float = Field(default=10, gt=0)
    batch_rows: int = Field(default=1_000_000, ge=1, description="rows of a batch")
    batch_bytes: int = Field(default=2 * 1024**3, ge=1, description="rows of a batch as tensors")
    batch_part_rows: int = Field(default=1024, ge=1, description="rows that are asked again after a crash, at most")
    batch_concurrency: int = Field(default=4, ge=1, description="requests of a batch under way")
    batch_request_seconds: float = Field(default=30, gt=0)
    batch_patience_seconds: float = Field(default=60, gt=0, description="a version may be away for so long")
    batch_memory: int = Field(default=2 * 1024**3, ge=256 * 1024**2, description="address space of a reading process")
    batch_cpu_seconds: int = Field(default=600, ge=1, description="processor time of a reading process")
    index_documents: int = Field(default=200_000, ge=1, description="documents of a search index")
    batch_keep_days: float = Field(default=7, gt=0, description="results are kept for so long")

    @property
    def limits(self) -> Limits:
        return Limits(self.max_waiting, self.max_waiting_project, self.max_waiting_version, self.max_wait_seconds)

    def guarded(self) -> tuple[Guarded, ...]:
        key = self.triton_access_header_value.get_secret_value()
        return *super().guarded(), Guarded(self.variable("triton_access_header_value"), self.triton_url, key)
