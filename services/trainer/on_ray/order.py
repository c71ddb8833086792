"""What the launcher is asked to have done on the cluster."""

from datetime import datetime
from typing import Any

from pydantic import BaseModel, ConfigDict

from shared.tasks.terms import Resources


class Order(BaseModel):
    """What the launcher is asked: the cluster, the module and its spec, what it takes there and may not exceed."""

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
