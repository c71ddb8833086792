"""A service whose handler's effect is one row an event; with the argument `batches`, many in one transaction."""

import sys
from dataclasses import replace

import uvloop

from services.evaluator.settings import Settings
from shared.db import Connection
from shared.events.tasks import TaskChanged
from shared.handlers import Handlers
from shared.service import Service, run
from shared.work import Work

INSERT = "INSERT INTO bench_effects (id) SELECT unnest($1::text[])"


async def on_task_changed(event: TaskChanged, work: Work[None]) -> None:
    """One row."""
    work.together(insert_effects, event.note)


async def insert_effects(tx: Connection, ids: list[str]) -> None:
    await tx.execute(INSERT, ids)


HANDLERS = Handlers("evaluator", events={TaskChanged: on_task_changed})


def build() -> Service:
    service = Service("evaluator", Settings())
    service.handle(replace(HANDLERS, in_batches="batches" in sys.argv[1:]), None)
    return service


if __name__ == "__main__":
    run(build, uvloop.new_event_loop)
