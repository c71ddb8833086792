"""What tests of tasks share: a running service of tasks, and what one asks and knows of its tasks."""

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import psutil

from services.trainer.settings import Settings
from shared.context import Context
from shared.errors import Unavailable
from shared.settings import ServiceSettings
from shared.streams import log_subject
from shared.tasks.process import NICENESS
from shared.tasks.run import accept
from shared.tasks.terms import Terms
from tests.integration.running import Running, until

ROOT = Path(__file__).parents[2]
SECRETS = ("nats_password", "database_url")
STEPS = {"steps": 3, "pause": 0.05, "end": "well", "stay": 0}
FINAL = ("TASK_STATE_SUCCEEDED", "TASK_STATE_FAILED", "TASK_STATE_CANCELLED")
Reached = Callable[[dict[str, Any]], Any]


def settings_with(settings: ServiceSettings, **changes: Any) -> Settings:
    own = {"home_dir": settings.home_dir / "work", "lease_seconds": 60, "task_workers": 1, "task_cores": 4}
    return Settings(**(settings.model_dump() | own | changes))


@dataclass
class Tasks:
    """The tasks of a running service."""

    running: Running
    context: Context = field(default_factory=lambda: Context(actor="ada", deadline=1.0, idempotency_key="once"))

    async def submit(self, terms: Terms | None = None, project: str = "default", **parameters: Any) -> str:
        assert self.running.service.relay
        async with self.running.service.relay.work(replace(self.context, project=project)) as work:
            task = await accept(work, "train", "steps", {"parameters": STEPS | parameters}, terms=terms)
        return task.id

    async def row(self, task_id: str) -> dict[str, Any]:
        return (await self.running.rows("SELECT * FROM tasks WHERE id = $1", task_id))[0]

    async def reached(self, task_id: str, condition: Reached) -> dict[str, Any]:
        """The task's row once it meets the condition."""

        async def look() -> dict[str, Any] | None:
            with suppress(Unavailable):
                row = await self.row(task_id)
                return row if condition(row) else None
            return None

        found: dict[str, Any] = await until(look)
        return found

    async def ended(self, task_id: str) -> dict[str, Any]:
        return await self.reached(task_id, lambda row: row["state"] in FINAL)

    async def runs(self, task_id: str, step: int = 0) -> dict[str, Any]:
        """The task's row once it has this many checkpoints, or its process runs."""

        async def look() -> bool:
            files = await self.running.rows("SELECT 1 FROM task_files WHERE task_id = $1 AND step >= $2", task_id, step)
            return bool(files) if step else bool(children())

        await until(look)
        return await self.row(task_id)

    async def log(self, task_id: str, stream: str = "") -> list[dict[str, Any]]:
        """The task's log on the bus."""
        state = (await self.running.js.stream_info("LOG")).state
        found = [
            await self.running.js.get_msg("LOG", number)
            for number in range(max(1, state.first_seq), state.last_seq + 1)
        ]
        ours = [
            json.loads(message.data or b"") for message in found if message.subject == log_subject("default", task_id)
        ]
        return [entry for entry in ours if stream in ("", entry["stream"])]

    async def lines(self, task_id: str, stream: str = "output") -> list[str]:
        return [entry["line"] for entry in await self.log(task_id, stream)]


@contextmanager
def process_of(module: str, settings: ServiceSettings, log: Path) -> Iterator[subprocess.Popen[bytes]]:
    """A service with these settings in a process of its own."""
    given = settings.model_dump(mode="json", exclude_none=True)
    given |= {name: getattr(settings, name).get_secret_value() for name in SECRETS}
    prefix = settings.model_config.get("env_prefix")
    environment = {f"{prefix}{name.upper()}": str(value) for name, value in given.items()}
    with log.open("ab") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", module],
            cwd=ROOT,
            env=environment | {name: os.environ[name] for name in ("PATH", NICENESS)} | {"PYTHONPATH": str(ROOT)},
            stdout=output,
            stderr=output,
        )
    try:
        yield process
    finally:
        process.kill()
        process.wait()


def children(pid: int | None = None) -> list[psutil.Process]:
    """The processes of tasks below a process, ours by default."""
    found = []
    for process in psutil.Process(pid).children():
        try:
            if "tests.integration.task_child" in process.cmdline() or process.status() == psutil.STATUS_ZOMBIE:
                found.append(process)
        except psutil.NoSuchProcess:
            continue
    return found


def folders(root: Path) -> list[Path]:
    """Work folders of tasks below a service's home."""
    return [path for path in (root / "tasks").glob("worker-*/*") if path.is_dir()]
