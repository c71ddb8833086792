"""Make sure that a model has a version that answers."""

import time
from pathlib import Path
from typing import Any

from aimass import Client, NotFound

SERVED_SECONDS = 120.0


def client_of(info: dict[str, Any]) -> Client:
    """The admin's client of the stack that stack.json tells of."""
    return Client(info["gateway"], Path(info["admin_key_file"]).read_text().strip())


def serving(client: Client, model: str) -> int | None:
    """The version that answers for a model now."""
    live = [
        d["version"] for d in client.deployments() if d["model"] == model and d["state"] == "serving" and d["ready"]
    ]
    return int(live[0]) if live else None


def wait_served(client: Client, task_id: str, model: str, seconds: float = SERVED_SECONDS) -> int:
    """The version that came of a training task, once it answers; raises TimeoutError."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        version = version_of(client, task_id, model)
        if version is not None and serving(client, model) == version:
            return version
        time.sleep(0.2)
    raise TimeoutError(f"no version of {task_id} answered within {seconds:g} s: see /api/v1/evaluations for its gate")


def version_of(client: Client, task_id: str, model: str) -> int | None:
    try:
        found = [int(v["version"]) for v in client.versions(model) if v["task_id"] == task_id]
    except NotFound:
        return None
    return found[0] if found else None


def ensure_champion(info: dict[str, Any], model: str) -> int:
    """The version that answers, after training one where there is none."""
    with client_of(info) as client:
        if (version := serving(client, model)) is not None:
            return version
        task = client.train(model)
        for _ in client.watch(task["id"], timeout=600):
            continue
        return wait_served(client, task["id"], model)
