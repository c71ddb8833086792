"""A whole running stack as tests see it: over HTTP with stock clients, and by its rows."""

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import httpx
import psycopg
from psycopg.rows import dict_row

from deploy.embedded.stack import Stack

SECONDS = 360.0
T = TypeVar("T")


def until(condition: Callable[[], T], seconds: float = SECONDS, what: str = "") -> T:
    """The first true value of a condition, asked ever less often; a refused connection counts as not yet."""
    begun = time.monotonic()
    deadline = begun + seconds
    last: object = None
    while time.monotonic() < deadline:
        try:
            last = condition()
            if last:
                return last  # type: ignore[return-value]
        except (httpx.TransportError, psycopg.OperationalError) as error:
            last = error
        time.sleep(min(0.1 + (time.monotonic() - begun) / 40, 0.3))
    raise AssertionError(f"not within {seconds:g} s: {what} (last: {last!r})")


@dataclass
class House:
    """The stack, its admin's HTTP client, and what tests ask it."""

    stack: Stack
    http: httpx.Client = field(init=False)

    def __post_init__(self) -> None:
        self.key = Path(self.stack.info["admin_key_file"]).read_text().strip()
        self.http = self.client(self.key)

    def client(self, key: str | None) -> httpx.Client:
        headers = {"Authorization": f"Bearer {key}"} if key else {}
        return httpx.Client(base_url=self.stack.info["gateway"], headers=headers, timeout=180)

    @property
    def address(self) -> str:
        """Host and port, as tritonclient wants them."""
        return str(self.stack.info["gateway"]).removeprefix("http://")

    def get(self, path: str, **params: Any) -> Any:
        response = self.http.get(f"/api/v1/{path}", params=params)
        if response.status_code in (502, 503, 504):
            raise httpx.TransportError(response.text)
        assert response.status_code == 200, response.text
        return response.json()

    def train(self, key: str, **config: Any) -> str:
        """Submit the main job with an Idempotency-Key until it is accepted; returns the task's id."""
        body = {"kind": "train", "model": "digits-cnn", "config": config}

        def accepted() -> str | None:
            response = self.http.post("/api/v1/tasks", json=body, headers={"Idempotency-Key": key})
            if response.status_code in (502, 503, 504):
                return None
            assert response.status_code == 202, response.text
            return str(response.json()["id"])

        return until(accepted, what="the task to be accepted")

    def task(self, task_id: str) -> dict[str, Any]:
        found: dict[str, Any] = self.get(f"tasks/{task_id}")
        return found

    def wait_task(self, task_id: str, seconds: float = SECONDS) -> dict[str, Any]:
        """The task once it has ended."""
        ended = ("succeeded", "failed", "cancelled")
        return until(lambda: (t := self.task(task_id))["state"] in ended and t, seconds, f"{task_id} to end")

    def wait_served(self, task_id: str, seconds: float = SECONDS) -> dict[str, Any]:
        """The version of this task once it answers requests."""

        def served() -> dict[str, Any] | None:
            versions = self.get("models/digits-cnn/versions")["versions"]
            mine = [version for version in versions if version["task_id"] == task_id]
            deployments = [d for d in self.get("deployments")["deployments"] if d["model"] == "digits-cnn"]
            live = {d["version"] for d in deployments if d["state"] == "serving" and d["ready"]}
            return mine[0] if mine and mine[0]["version"] in live else None

        def known() -> dict[str, Any] | None:
            response = self.http.get("/api/v1/models/digits-cnn")
            return served() if response.status_code == 200 else None

        return until(known, seconds, f"the version of {task_id} to be served")

    def rows(self, schema: str, query: str) -> list[dict[str, Any]]:
        """Rows of a service's own schema, read by the administrator."""
        with psycopg.connect(self.stack.info["postgres"], row_factory=dict_row, autocommit=True) as connection:
            connection.execute(f"SET search_path = {schema}")
            return connection.execute(query).fetchall()  # type: ignore[arg-type]
