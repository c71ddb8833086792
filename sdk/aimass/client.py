"""The client: one class over the platform's HTTP API."""

import json
import time
import uuid
from collections.abc import Iterator, Mapping
from types import TracebackType
from typing import Any, Self

import httpx

from aimass.errors import Unavailable, error_of

Json = dict[str, Any]
ENDED = ("succeeded", "failed", "cancelled")


class Client:
    """Talks to one gateway with one API key.

    `authorization` is the header's value, for other clients. Every method raises ApiError (NotFound,
    Unavailable) when the platform refuses.
    """

    def __init__(self, url: str, key: str, *, timeout: float = 30.0) -> None:
        self.authorization = f"Bearer {key}"
        self._http = httpx.Client(base_url=url, headers={"Authorization": self.authorization}, timeout=timeout)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        self._http.close()

    def library(self) -> list[Json]:
        """The members of the model library, with the JSON schemas of their configs."""
        return self._list("library", "members")

    def train(
        self, model: str, config: Mapping[str, Any] | None = None, *, auto_promote: bool = True, key: str = ""
    ) -> Json:
        """Submit a training task; the same idempotency key twice is one task."""
        body = {"kind": "train", "model": model, "config": dict(config or {}), "auto_promote": auto_promote}
        return self._call("POST", "tasks", body, {"Idempotency-Key": key or str(uuid.uuid4())})

    def tasks(self, **filters: str | int) -> list[Json]:
        return self._list("tasks", "tasks", **filters)

    def task(self, task_id: str) -> Json:
        return self._call("GET", f"tasks/{task_id}")

    def metrics(self, task_id: str) -> list[Json]:
        """The scalars of a task, by epoch."""
        return self._list(f"tasks/{task_id}/metrics", "points")

    def cancel(self, task_id: str) -> Json:
        return self._call("POST", f"tasks/{task_id}/cancel")

    def watch(self, task_id: str, *, every: float = 0.5, timeout: float = 3600) -> Iterator[Json]:
        """The task again and again until it has ended; an unreachable platform is waited for."""
        deadline = time.monotonic() + timeout
        while time.monotonic() < deadline:
            try:
                found = self.task(task_id)
            except (Unavailable, httpx.TransportError):
                time.sleep(every)
                continue
            yield found
            if found["state"] in ENDED:
                return
            time.sleep(every)
        raise TimeoutError(f"{task_id} has not ended within {timeout:g} s")

    def models(self) -> list[Json]:
        return self._list("models", "models")

    def model(self, name: str) -> Json:
        return self._call("GET", f"models/{name}")

    def versions(self, model: str) -> list[Json]:
        """The versions of a model, newest first."""
        return self._list(f"models/{model}/versions", "versions")

    def promote(self, model: str, version: int, alias: str = "champion") -> Json:
        """Point an alias at a version."""
        return self._call("PUT", f"models/{model}/aliases/{alias}", {"version": version})

    def evaluations(self, model: str | None = None) -> list[Json]:
        return self._list("evaluations", "evaluations", **({"model": model} if model else {}))

    def deployments(self) -> list[Json]:
        return self._list("deployments", "deployments")

    def predictions(self, **filters: str | int) -> list[Json]:
        return self._list("predictions", "predictions", **filters)

    def timeline(self, correlation_id: str) -> list[Json]:
        """The events of one chain, in order."""
        return self._list("events", "events", correlation_id=correlation_id, follow="false")

    def follow_events(self, **filters: str) -> Iterator[Json]:
        """Events as they happen, until the caller stops."""
        with self._http.stream("GET", "/api/v1/events", params=filters, timeout=None) as response:
            if response.status_code != 200:
                response.read()
                raise error_of(response)
            for line in response.iter_lines():
                if line.startswith("data:"):
                    yield json.loads(line[5:])

    def infer(self, model: str, inputs: list[Json], version: int | None = None) -> Json:
        """Ask a model by the Open Inference Protocol; inputs are {name, datatype, shape, data}."""
        path = f"/v2/models/{model}" + (f"/versions/{version}" if version else "") + "/infer"
        return self._read(self._http.post(path, json={"inputs": inputs}))

    def _list(self, path: str, member: str, **params: str | int) -> list[Json]:
        found: list[Json] = self._read(self._http.get(f"/api/v1/{path}", params=params))[member]
        return found

    def _call(self, method: str, path: str, body: Json | None = None, headers: dict[str, str] | None = None) -> Json:
        return self._read(self._http.request(method, f"/api/v1/{path}", json=body, headers=headers))

    @staticmethod
    def _read(response: httpx.Response) -> Json:
        if response.is_error:
            raise error_of(response)
        body: Json = response.json() if response.content else {}
        return body
