"""The last warnings and errors that were logged, in memory and bounded, for the operators' page."""

from collections import deque
from typing import Any

from pydantic import BaseModel

MOST = 50
LONGEST = 500
LEVELS = frozenset({"warning", "error", "critical"})
NOT_DETAILS = frozenset({"event", "level", "timestamp", "service", "trace_id", "exception"})


class Remark(BaseModel):
    """A line of the log; the same one again and again is counted, so that it pushes nothing else out."""

    at: str
    level: str
    event: str
    detail: str = ""
    trace_id: str = ""
    times: int = 1


RECENT: deque[Remark] = deque(maxlen=MOST)


def remember(_: Any, __: str, event: Any) -> Any:
    """A processor of structlog that keeps what an operator should see."""
    if event.get("level") in LEVELS:
        _keep(_remark(event))
    return event


def _keep(remark: Remark) -> None:
    same = next((known for known in RECENT if _identity(known) == _identity(remark)), None)
    if same is not None:
        RECENT.remove(same)
        remark.times += same.times
    RECENT.append(remark)


def _identity(remark: Remark) -> tuple[str, str, str]:
    return remark.level, remark.event, remark.detail


def _remark(event: dict[str, Any]) -> Remark:
    details = [f"{name}={value}" for name, value in event.items() if name not in NOT_DETAILS]
    if lines := str(event.get("exception", "")).strip().splitlines():
        details.append(lines[-1])
    return Remark(
        at=str(event.get("timestamp", "")),
        level=event["level"],
        event=str(event.get("event", ""))[:LONGEST],
        detail=" ".join(details)[:LONGEST],
        trace_id=event.get("trace_id", ""),
    )
