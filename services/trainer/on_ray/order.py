"""What the launcher is asked to have done on the cluster."""

from datetime import datetime
from typing import Any

from pydantic import BaseModel, ConfigDict

from shared.tasks.terms import Resources


class Unreachable(Exception):
    """The cluster, or a node of it, does not answer."""


class Order(BaseModel):
    """What the launcher is asked: the cluster, the module and its spec, what it takes there and may not exceed.

    Where the spec has the `seat` of one of several workers, `resources` and `memory` are those of each.
    """

    model_config = ConfigDict(extra="forbid")

    task_id: str
    address: str
    module: str
    spec: dict[str, Any]
    threads: int
    resources: Resources
    memory: int | None
    started: datetime | None = None
    token_file: str | None = None

    @property
    def workers(self) -> int:
        seat = self.spec.get("seat")
        return int(seat["workers"]) if seat else 1

    def seated(self, rank: int, meeting: str) -> "Order":
        """That of one of the others; each has GPUs that no other sees."""
        seat = {**self.spec["seat"], "rank": rank, "meeting": meeting}
        return self.model_copy(update={"spec": {**self.spec, "seat": seat}})
