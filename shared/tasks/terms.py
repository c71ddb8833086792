"""On which terms a task runs: how urgent it is, what it takes of a node and may not exceed, when it is tried again.

Pure; people give the terms with the task, and each kind has its own where they give none.
"""

from enum import StrEnum
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, StringConstraints

MIB = 1024 * 1024
MONTH = 31 * 24 * 3600
TaskId = Annotated[str, StringConstraints(pattern=r"^[a-z]{1,32}-[0-9a-f-]{36}$")]
Tag = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_.:/-]{1,64}$")]
Remark = Annotated[str, StringConstraints(max_length=2000)]
LIGHT_KINDS = frozenset({"evaluate", "batch", "index"})
HOST_KINDS = frozenset({"tune"})


class Place(StrEnum):
    """Where the processes of a task run: as children of the service, or on the nodes of a Ray cluster."""

    LOCAL = "local"
    RAY = "ray"


class Resources(BaseModel):
    """What a task takes of its node: cores and GPUs, which may be fractions, and bytes of memory."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    cores: float = Field(default=1, ge=0, le=4096)
    memory: int = Field(default=1024 * MIB, ge=0, le=2**50, description="bytes")
    gpus: float = Field(default=0, ge=0, le=1024)

    def __str__(self) -> str:
        gpus = f", {self.gpus:g} GPUs" if self.gpus else ""
        return f"{self.cores:g} cores, {self.memory / MIB:.0f} MiB of memory{gpus}"

    def __sub__(self, other: "Resources") -> "Resources":
        """What is left; below zero where more is taken than there is."""
        return Resources.model_construct(
            cores=self.cores - other.cores, memory=self.memory - other.memory, gpus=self.gpus - other.gpus
        )

    def __mul__(self, times: int) -> "Resources":
        """Raises ValidationError where that is more than anything can have."""
        return Resources(cores=self.cores * times, memory=self.memory * times, gpus=self.gpus * times)

    def __truediv__(self, parts: int) -> "Resources":
        return Resources(cores=self.cores / parts, memory=self.memory // parts, gpus=self.gpus / parts)

    def holds(self, other: "Resources") -> bool:
        """Whether the other fits in; what takes none of something does not mind that none is left of it."""
        pairs = ((self.cores, other.cores), (self.memory, other.memory), (self.gpus, other.gpus))
        return all(taken == 0 or taken <= there + 1e-9 for there, taken in pairs)

    def share_of(self, whole: "Resources") -> float:
        """The largest share that this is of anything of a node: Ghodsi et al., Dominant Resource Fairness, 2011."""
        pairs = ((self.cores, whole.cores), (self.memory, whole.memory), (self.gpus, whole.gpus))
        return max(taken / there if there else float(taken > 0) for taken, there in pairs)


class Limits(BaseModel):
    """What an attempt may take: seconds, and bytes of memory of its process; without the latter what the node has."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    seconds: float | None = Field(default=None, gt=0, le=MONTH)
    memory: int | None = Field(default=None, ge=16 * MIB, le=2**50, description="bytes")


class Cause(StrEnum):
    """Why an attempt ended badly, as far as it matters to whether there is another."""

    LOST = "lost"
    OUT_OF_MEMORY = "out_of_memory"
    TIMED_OUT = "timed_out"
    FAILED = "failed"


class Retries(BaseModel):
    """How often a task is tried again after each cause; `lost` counts anew after each checkpoint."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    lost: int = Field(default=10, ge=0, le=1000)
    out_of_memory: int = Field(default=0, ge=0, le=1000)
    timed_out: int = Field(default=0, ge=0, le=1000)
    failed: int = Field(default=0, ge=0, le=1000)

    def after(self, cause: Cause) -> int:
        return int(getattr(self, cause.value))


class OwnTerms(BaseModel):
    """What is said of a task beside what it does, and beside what it waits for."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    priority: int = Field(
        default=0, ge=-100, le=100, description="among the tasks of the project; the higher goes first"
    )
    place: Place = Place.LOCAL
    resources: Resources | None = None
    limits: Limits = Limits()
    retries: Retries = Retries()
    tags: tuple[Tag, ...] = Field(default=(), max_length=50)
    remark: Remark = ""


class Terms(OwnTerms):
    """All that is said of a task beside what it does."""

    after: tuple[TaskId, ...] = Field(default=(), max_length=100, description="tasks that must have succeeded before")


def needs(kind: str, terms: Terms) -> Resources:
    """What a task takes: what was said, or what its kind usually takes.

    Light kinds mostly wait for other services; what hosts other tasks takes nothing that these need.
    """
    if terms.resources is not None:
        return terms.resources
    if kind in HOST_KINDS:
        return Resources(cores=0, memory=0)
    return Resources(cores=0, memory=256 * MIB) if kind in LIGHT_KINDS else Resources()
