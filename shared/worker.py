"""The pipe between a service and the process of one of its tasks.

The child gets its spec as JSON on standard input and a work folder as its current directory; it reports as JSON
lines on the file descriptor named by REPORT_FD. It holds no credentials of the bus or of the database.
"""

import os
import sys
import threading
from typing import Annotated, Any, Literal

from pydantic import BaseModel, Field, TypeAdapter

REPORT_FD = "AIMASS_REPORT_FD"


class Progress(BaseModel):
    """How far a task is: fraction in 0..1, seconds left when it can be told."""

    type: Literal["progress"] = "progress"
    fraction: float = Field(ge=0, le=1)
    message: str = ""
    seconds_left: float | None = None


class Metrics(BaseModel):
    """Scalars measured at the end of an epoch (1-based)."""

    type: Literal["metrics"] = "metrics"
    epoch: int = Field(ge=0)
    values: dict[str, float]


class Checkpoint(BaseModel):
    """A complete checkpoint file in the work folder, resumable from after this epoch and `step` steps of the next one.

    `steps` are those of all epochs; `is_best` where no epoch before was better by the gate's metric.
    """

    type: Literal["checkpoint"] = "checkpoint"
    epoch: int = Field(ge=0)
    step: int = Field(default=0, ge=0)
    steps: int = Field(default=0, ge=0)
    is_best: bool = False
    file: str


class Insights(BaseModel):
    """A look at what the weights after an epoch answer."""

    type: Literal["insights"] = "insights"
    epoch: int = Field(ge=0)
    facts: dict[str, Any]


class Kept(BaseModel):
    """A file of the work folder that is kept with the task, beside its checkpoints and its result."""

    type: Literal["kept"] = "kept"
    role: str
    file: str


class Result(BaseModel):
    """The end of a task: files of the work folder to be kept, by role, and facts about them."""

    type: Literal["result"] = "result"
    files: dict[str, str] = {}
    data: dict[str, Any] = {}


class Failure(BaseModel):
    """Why a task cannot go on: error class and message, for people."""

    type: Literal["failure"] = "failure"
    error: str
    message: str


Report = Annotated[Progress | Metrics | Checkpoint | Insights | Kept | Result | Failure, Field(discriminator="type")]
REPORTS: TypeAdapter[Report] = TypeAdapter(Report)


class Reporter:
    """Writes reports to the parent from any thread, a JSON line each; a vanished parent raises ConnectionError."""

    def __init__(self, descriptor: int) -> None:
        self._pipe = os.fdopen(descriptor, "wb", buffering=0)
        self._whole_line = threading.Lock()

    @classmethod
    def from_environment(cls) -> "Reporter":
        """The pipe that the parent opened for this process."""
        return cls(int(os.environ[REPORT_FD]))

    def send(self, report: BaseModel) -> None:
        line = report.model_dump_json().encode() + b"\n"
        with self._whole_line:
            self._pipe.write(line)


def read_spec() -> dict[str, Any]:
    """The spec that the parent wrote to standard input."""
    spec: dict[str, Any] = TypeAdapter(dict[str, Any]).validate_json(sys.stdin.buffer.read())
    return spec
