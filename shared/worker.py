"""The pipe between a service and the process of one of its tasks.

The child gets its spec as JSON on standard input and a work folder as its current directory; it reports as JSON
lines on the file descriptor named by REPORT_FD. It holds no credentials of the bus or of the database.
"""

import os
import sys
import threading
import time
from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, TypeAdapter, model_validator

REPORT_FD = "AIMASS_REPORT_FD"
POINTS_SECONDS = 1.0
SeriesName = Annotated[str, StringConstraints(pattern=r"^[^\x00-\x1f]{1,250}$")]
RecordKind = Literal["histogram", "text", "table", "image"]


class WorkersLost(Exception):
    """Another worker of the task does not answer."""


class Seat(BaseModel):
    """The place of a process among the workers of a task; the first has rank 0, and they meet at its `host:port`.

    `host` is the own address, and `index` counts those on the same machine that share its GPUs.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")
    workers: int = Field(ge=2)
    rank: int = Field(default=0, ge=0)
    index: int = Field(default=0, ge=0)
    host: str = "127.0.0.1"
    meeting: str = ""


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


class Series(BaseModel):
    """Some scalars of one name: whole steps that do not fall, seconds since 1970, values (NaN is one, too)."""

    model_config = ConfigDict(ser_json_inf_nan="constants")
    steps: list[int]
    times: list[float]
    values: list[float]

    @model_validator(mode="after")
    def _even(self) -> "Series":
        if not len(self.steps) == len(self.times) == len(self.values) > 0:
            raise ValueError("a series has as many steps as times as values, and at least one")
        return self


class Points(BaseModel):
    """Scalars by step since the last such report, by name; `per_epoch` steps make an epoch."""

    model_config = ConfigDict(ser_json_inf_nan="constants")
    type: Literal["points"] = "points"
    per_epoch: float | None = Field(default=None, gt=0)
    series: dict[SeriesName, Series]


class Record(BaseModel):
    """A histogram, text or table as `body`, or an image or any of those as a file of the work folder, at a step."""

    type: Literal["record"] = "record"
    kind: RecordKind
    name: SeriesName
    step: int = Field(default=0, ge=0, lt=2**63)
    body: dict[str, Any] | None = None
    file: str | None = None

    @model_validator(mode="after")
    def _one(self) -> "Record":
        if (self.body is None) == (self.file is None):
            raise ValueError("a record has either a body or a file")
        return self


class Meeting(BaseModel):
    """Where the first worker of a task waits for the others, as `host:port`."""

    type: Literal["meeting"] = "meeting"
    address: str


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


class Lost(BaseModel):
    """The work went on elsewhere and is lost with its node; it goes on from the last checkpoint."""

    type: Literal["lost"] = "lost"
    message: str


Report = Annotated[
    Progress | Metrics | Checkpoint | Points | Record | Insights | Kept | Meeting | Result | Failure | Lost,
    Field(discriminator="type"),
]
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


class Curves:
    """Gathers scalars by step and sends them on at most once a second; `flush` sends what is left."""

    def __init__(self, reporter: Reporter, per_epoch: float | None = None) -> None:
        self._reporter, self._per_epoch = reporter, per_epoch
        self._series: dict[str, tuple[list[int], list[float], list[float]]] = {}
        self._sent = time.time()

    def add(self, step: int, values: Mapping[str, float]) -> None:
        now = time.time()
        for name, value in values.items():
            if (series := self._series.get(name)) is None:
                series = self._series[name] = ([], [], [])
            series[0].append(step)
            series[1].append(now)
            series[2].append(value)
        if not 0 <= now - self._sent < POINTS_SECONDS:
            self.flush()

    def flush(self) -> None:
        given, self._series, self._sent = self._series, {}, time.time()
        if given:
            columns = {name: Series(steps=s, times=t, values=v) for name, (s, t, v) in given.items()}
            self._reporter.send(Points(per_epoch=self._per_epoch, series=columns))


def read_spec() -> dict[str, Any]:
    """The spec that the parent wrote to standard input."""
    spec: dict[str, Any] = TypeAdapter(dict[str, Any]).validate_json(sys.stdin.buffer.read())
    return spec
