"""Domain usage: said by gateway; counters of a run and a day, which only grow, so that the largest counts."""

from typing import ClassVar

from shared.events.base import Event, Int64, Message


class UsageCount(Message):
    """What one identity used of one model in one way on this day, since the run began: times in microseconds."""

    identity: str = ""
    model: str = ""
    kind: str = ""
    requests: Int64 = 0
    errors: Int64 = 0
    compute_us: Int64 = 0
    input_bytes: Int64 = 0
    output_bytes: Int64 = 0


class UsageCounted(Event):
    """A run has counted so far on a day (UTC); the counts that have changed since it last said so."""

    about: ClassVar[str] = "run"
    stream: ClassVar[str] = "USAGE"
    run: str = ""
    service: str = ""
    day: str = ""
    counts: tuple[UsageCount, ...] = ()

    @classmethod
    def subject(cls, project: str) -> str:
        return f"usage.{project}"
