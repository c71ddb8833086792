"""A service that commits changes, each with its event: `writer COUNT RATE`, as fast as it can where the rate is 0."""

import sys

import uvloop

from benchmarks.events.pace import changes, told
from services.trainer.settings import Settings
from shared.context import Context
from shared.events.common import TaskState
from shared.events.tasks import TaskChanged
from shared.names import new_id
from shared.service import Service, run

INSERT = "INSERT INTO bench_changes (id) VALUES ($1)"
TASKS = 1000


class Writer:
    """Changes of many tasks in turn, as a platform has them that runs many."""

    def __init__(self, service: Service, count: int, rate: float) -> None:
        self._service, self._count, self._rate = service, count, rate
        self._tasks = [f"train-{new_id()}" for _ in range(TASKS)]

    async def run(self) -> None:
        await told("ready")
        await changes(self._change, self._count, self._rate)
        await told("done")
        self._service.stop()

    async def _change(self, number: int) -> None:
        assert self._service.relay is not None
        change = new_id()
        async with self._service.relay.work(Context()) as work:
            await work.tx.execute(INSERT, change)
            work.say(
                TaskChanged(task_id=self._tasks[number % TASKS], kind="train", state=TaskState.RUNNING, note=change)
            )


def build() -> Service:
    service = Service("trainer", Settings())
    service.add_loop("changes", Writer(service, int(sys.argv[1]), float(sys.argv[2])).run)
    return service


if __name__ == "__main__":
    run(build, uvloop.new_event_loop)
