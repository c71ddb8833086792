"""Domain storage: what projects keep, said by registry; the most of an hour counts, so that repeats change nothing."""

from typing import ClassVar

from shared.events.base import Event, Int64, Timestamp


class StorageHeld(Event):
    """A project's versions and data sets hold so many bytes at this time, what several share counted once."""

    about: ClassVar[str] = "project"
    stream: ClassVar[str] = "USAGE"
    project: str = ""
    at: Timestamp | None = None
    bytes_held: Int64 = 0

    @classmethod
    def subject(cls, project: str) -> str:
        return f"usage.{project}"
