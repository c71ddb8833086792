"""Curves of a task: its series read from the chunks, and thinned in a thread as a million points take milliseconds."""

import asyncio
import math
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from shared.db import Connection
from shared.rpc.curves import NAMES_MOST, Axis, Curve, CurvesView, GetTaskCurves
from shared.series import store
from shared.series.columns import Columns, thinned
from shared.series.store import Named

if TYPE_CHECKING:
    from numpy.typing import NDArray

STEP_MOST = 2**63 - 1
REPLY_POINTS = 12_000  # of all curves together, so that the answer stays below what one message of the bus may hold


class Range(NamedTuple):
    """A part of the axis, and how many points of it a curve may have."""

    axis: Axis
    least: float
    greatest: float
    most: int

    @classmethod
    def of(cls, request: GetTaskCurves, curves: int) -> "Range":
        least = -math.inf if request.least is None else request.least
        greatest = math.inf if request.greatest is None else request.greatest
        most = max(8, min(request.points, REPLY_POINTS // max(1, curves)))
        return cls(request.axis, least, greatest, most)

    def steps(self, per_epoch: float) -> tuple[int, int]:
        """The steps that the range can hold."""
        if self.axis == "time":
            return -STEP_MOST, STEP_MOST
        scale = per_epoch if self.axis == "epoch" else 1.0
        return _whole(math.floor, self.least * scale), _whole(math.ceil, self.greatest * scale)


def _whole(rounded: Any, value: float) -> int:
    return int(max(-STEP_MOST, min(STEP_MOST, rounded(value) if math.isfinite(value) else value)))


async def curves_of(tx: Connection, task_id: str, request: GetTaskCurves) -> CurvesView:
    """The curves that were asked for, series of steps before scalars of epochs."""
    series, epochs = await store.names(tx, task_id), by_name(await store.epochs(tx, task_id))
    per_epoch = max((known.per_epoch or 0.0 for known in series), default=0.0) or 1.0
    wanted = request.names or sorted({known.name for known in series} | set(epochs))[:NAMES_MOST]
    chosen = [known for known in series if known.name in wanted and _fits(known, request.axis, series)]
    told = [name for name in epochs if name in wanted]
    part = Range.of(request, len(chosen) + len(told))
    found = [await _of_steps(tx, task_id, known, per_epoch, part) for known in chosen]
    found += [_of_epochs(name, epochs[name], per_epoch, part) for name in told]
    rest = {known.name for known in series} | set(epochs)
    return CurvesView(axis=request.axis, curves=found, left_out=[] if request.names else sorted(rest - set(wanted)))


def _fits(known: Named, axis: Axis, series: list[Named]) -> bool:
    """Beside series whose steps make epochs, others have none, such as those whose steps are seconds."""
    return axis != "epoch" or known.per_epoch is not None or all(other.per_epoch is None for other in series)


async def _of_steps(tx: Connection, task_id: str, known: Named, per_epoch: float, part: Range) -> Curve:
    own = known.per_epoch or per_epoch
    rows, timed = await store.read_curve(tx, task_id, known.name, *part.steps(own), timed=part.axis == "time")
    scale = 1 / own if part.axis == "epoch" else 1.0

    def draw() -> Curve:
        x, y = store.curve(rows, timed)
        return _drawn(known.name, "step", x * scale, y, part)

    return await asyncio.to_thread(draw)


def _of_epochs(name: str, points: Columns, per_epoch: float, part: Range) -> Curve:
    x = points.times if part.axis == "time" else points.steps * (per_epoch if part.axis == "step" else 1.0)
    return _drawn(name, "epoch", x, points.values, part)


def by_name(rows: Iterable[Any]) -> dict[str, Columns]:
    """The scalars of epochs as series whose steps are epochs."""
    found: dict[str, list[tuple[int, float, float]]] = {}
    for row in rows:
        found.setdefault(row["name"], []).append((row["epoch"], row["at"], row["value"]))
    return {name: Columns.of(*zip(*points, strict=True)) for name, points in found.items()}


def _drawn(name: str, per: Any, x: "NDArray[Any]", y: "NDArray[Any]", part: Range) -> Curve:
    """The points of a range that are numbers, in the order of the axis, thinned."""
    if not (part.least == -math.inf and part.greatest == math.inf):
        within = (x >= part.least) & (x <= part.greatest)
        x, y = x[within], y[within]
    count = len(y)
    if not (finite := np.isfinite(y)).all():
        x, y = x[finite], y[finite]
    if not (x[1:] >= x[:-1]).all():
        order = np.argsort(x, kind="stable")
        x, y = x[order], y[order]
    kept = thinned(x, y, part.most)
    return Curve(name=name, per=per, count=len(y), not_finite=count - len(y), x=x[kept].tolist(), y=y[kept].tolist())
