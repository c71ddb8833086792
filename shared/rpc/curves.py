"""Requests about what tasks say of themselves by step; every service with tasks answers them."""

from datetime import datetime
from typing import Any, Literal

from pydantic import Field

from shared.names import Digest
from shared.rpc.base import Reply, Request

Axis = Literal["step", "time", "epoch"]
POINTS_LEAST, POINTS_MOST, NAMES_MOST = 8, 5000, 64


class Curve(Reply):
    """A curve of at most so many points as were asked for: its ends and extremes are real points of the series.

    `count` points of the range went into it; `not_finite` further ones are NaN or infinite.
    """

    name: str
    per: Literal["step", "epoch"]
    count: int
    not_finite: int = 0
    x: list[float] = []
    y: list[float] = []


class CurvesView(Reply):
    """Curves of a task; `left_out` names further series that it has."""

    axis: Axis
    curves: list[Curve] = []
    left_out: list[str] = []


class GetTaskCurves(Request[CurvesView]):
    """Show series of a task, those named or all, within a range of the axis, with so many points each at most."""

    task_id: str
    names: list[str] = Field(default=[], max_length=NAMES_MOST)
    points: int = Field(default=500, ge=POINTS_LEAST, le=POINTS_MOST)
    axis: Axis = "step"
    least: float | None = None
    greatest: float | None = None


class ExportedTask(Reply):
    """The series of a task as one file, kept as an artifact."""

    digest: Digest
    size: int
    file_name: str
    media: str


class ExportTask(Request[ExportedTask]):
    """Make one file of all points of all series of a task."""

    task_id: str
    format: Literal["parquet", "tensorboard"]


class RecordLine(Reply):
    """A histogram, text, table or image of a task, without its content; `size` in bytes."""

    name: str
    step: int
    kind: str
    size: int
    at: datetime


class RecordContent(RecordLine):
    """One record with its small body, or with the digest of the file that it is."""

    body: dict[str, Any] | None = None
    digest: str | None = None
    media: str = "application/json"


class RecordList(Reply):
    """The records of a task by name and step."""

    records: list[RecordLine] = []


class ListTaskRecords(Request[RecordList]):
    """List the records of a task, of one name or kind where that is told."""

    task_id: str
    name: str | None = None
    kind: str | None = None


class GetTaskRecord(Request[RecordContent]):
    """Show one record, the last of its name where no step is told."""

    task_id: str
    name: str
    step: int | None = None
