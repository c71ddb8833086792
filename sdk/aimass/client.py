"""The client: one class over the platform's HTTP API."""

import time
import uuid
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from aimass import types as t
from aimass.asking import Asking
from aimass.connection import API, Connection
from aimass.errors import DeadlineExceeded, Unavailable
from aimass.later import Later
from aimass.searching import Searching

LONGEST_LIST = 1000
ENDED = ("succeeded", "failed", "cancelled")


class Client(Asking, Later, Searching):
    """Talks to one gateway with one API key, or with an access token in its place.

    `authorization` is the header's value, for other clients. Every method raises an ApiError when the platform
    refuses, and Unavailable or DeadlineExceeded when it does not answer.
    """

    def __init__(self, url: str, key: str, *, timeout: float = 30.0) -> None:
        self._connection = Connection(url, key, timeout)
        self.authorization = self._connection.authorization

    @classmethod
    def login(cls, url: str, name: str, password: str, *, timeout: float = 30.0) -> Self:
        """A client in the name of a user; its token lasts for 15 minutes at most, then log in again.

        Raises Unauthenticated for a wrong name or password, and TooManyAttempts after many of them.
        """
        anonymous = Connection(url, "", timeout)
        try:
            session: t.Session = anonymous.call("POST", "login", json={"name": name, "password": password})
        finally:
            anonymous.close()
        return cls(url, session["access_token"], timeout=timeout)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        self._connection.close()

    def library(self) -> list[t.Member]:
        """The members of the model library, with the JSON schemas of their configs."""
        members: list[t.Member] = self._get("library")["members"]
        return members

    def member(self, name: str) -> t.Member:
        found: t.Member = self._get(f"library/{name}")
        return found

    def train(
        self,
        model: str,
        config: Mapping[str, Any] | None = None,
        *,
        auto_promote: bool = True,
        dataset: str | None = None,
        key: str = "",
    ) -> t.Accepted:
        """Submit a training task, on the member's own data set or another; the same idempotency key is one task."""
        body = {"kind": "train", "model": model, "config": dict(config or {}), "auto_promote": auto_promote}
        body |= {"dataset": dataset} if dataset else {}
        headers = {"Idempotency-Key": key or str(uuid.uuid4())}
        accepted: t.Accepted = self._connection.call("POST", "tasks", json=body, headers=headers)
        return accepted

    def optimise(
        self, model: str, version: int, method: str, *, auto_promote: bool = False, key: str = "", **config: Any
    ) -> t.Accepted:
        """Submit a task that makes the next version of a model of one of its versions; `derived_from` names that.

        Methods are graph, int8-dynamic, int8-static, prune-channels and prune-weights; `config` is the method's own.
        """
        body = {"how": {"method": method, **config}, "auto_promote": auto_promote}
        headers = {"Idempotency-Key": key or str(uuid.uuid4())}
        path = f"models/{model}/versions/{version}/optimisations"
        accepted: t.Accepted = self._connection.call("POST", path, json=body, headers=headers)
        return accepted

    def tasks(
        self, *, kind: str | None = None, state: str | None = None, model: str | None = None, limit: int = 100
    ) -> list[t.Task]:
        """Tasks of all services, newest first, over as many answers as it takes."""
        found: list[t.Task] = []
        cursor: str | None = None
        while len(found) < limit and cursor != "":
            most = min(limit - len(found), LONGEST_LIST)
            page = self._get("tasks", kind=kind, state=state, model=model, limit=most, cursor=cursor)
            found, cursor = found + page["tasks"], page["next"]
        return found

    def task(self, task_id: str) -> t.Task:
        task: t.Task = self._get(f"tasks/{task_id}")
        return task

    def metrics(self, task_id: str) -> list[t.MetricPoint]:
        """The scalars of a task, by epoch."""
        points: list[t.MetricPoint] = self._get(f"tasks/{task_id}/metrics")["points"]
        return points

    def batch(
        self,
        model: str,
        file: Path | None = None,
        *,
        dataset: str | None = None,
        part: str | None = None,
        version: int | None = None,
        alias: str | None = None,
        format: str | None = None,  # noqa: A002
        output: str | None = None,
        key: str = "",
    ) -> t.Accepted:
        """Run all rows of a file, or of a part of a data set, through a version, the one that serves unless another
        is named; the same idempotency key twice is one task.

        Formats are csv, jsonl, npz and parquet; the content of the file tells its own, which is that of the result too.
        """
        params = {"dataset": dataset, "part": part, "version": version, "alias": alias}
        params |= {"format": format, "output": output}
        accepted: t.Accepted = self._bring(f"models/{model}/batches", file, params, key)
        return accepted

    def batch_result(self, task_id: str, target: Path) -> Path:
        """Take the result of a batch that has succeeded: a row for each row of its file, in their order."""
        return self._connection.download(f"tasks/{task_id}/result", target)

    def cancel(self, task_id: str) -> t.Task:
        task: t.Task = self._connection.call("POST", f"tasks/{task_id}/cancel")
        return task

    def watch(self, task_id: str, *, every: float = 0.5, timeout: float = 3600) -> Iterator[t.Task]:
        """The task again and again until it has ended; an unreachable platform is waited for."""
        deadline = time.monotonic() + timeout
        while time.monotonic() < deadline:
            try:
                found = self.task(task_id)
            except (Unavailable, DeadlineExceeded):
                time.sleep(every)
                continue
            yield found
            if found["state"] in ENDED:
                return
            time.sleep(every)
        raise TimeoutError(f"{task_id} has not ended within {timeout:g} s")

    def logs(self, task_id: str, *, after: int = 0, limit: int = 1000) -> list[t.LogLine]:
        """Lines of a task's log, from the one after `after` on."""
        lines: list[t.LogLine] = self._get(f"tasks/{task_id}/logs", after=after, limit=limit)["lines"]
        return lines

    def follow_logs(self, task_id: str) -> Iterator[t.LogLine]:
        """The log of a task from its beginning, and on until the task has ended."""
        for event in self._connection.stream(f"tasks/{task_id}/logs", {"follow": "true"}):
            if event.name == "end":
                return
            yield t.LogLine(**event.data)  # type: ignore[typeddict-item]

    def models(self, q: str = "", *, task_type: str = "", archived: bool = False) -> list[t.Model]:
        """Models by name; `q` is looked for in name, labels and cards."""
        models: list[t.Model] = self._get("models", q=q, task_type=task_type, archived=archived)["models"]
        return models

    def model(self, name: str) -> t.Model:
        model: t.Model = self._get(f"models/{name}")
        return model

    def versions(self, model: str, q: str = "", *, archived: bool = False) -> list[t.Version]:
        """The versions of a model, newest first; `q` is looked for in labels and cards."""
        versions: list[t.Version] = self._get(f"models/{model}/versions", q=q, archived=archived)["versions"]
        return versions

    def version(self, model: str, version: int) -> t.Version:
        found: t.Version = self._get(f"models/{model}/versions/{version}")
        return found

    def promote(
        self, model: str, version: int, alias: str = "champion", *, expected: int | None = None, force: str = ""
    ) -> t.Version:
        """Point an alias at a version; with `expected` only if it points there now.

        `force` is the reason to promote without a passed evaluation.
        """
        body = {"version": version, "expected": expected, "force": bool(force), "reason": force}
        promoted: t.Version = self._connection.call("PUT", f"models/{model}/aliases/{alias}", json=body)
        return promoted

    def upload(
        self,
        model: str,
        file: Path,
        *,
        dataset: str | None = None,
        task_type: str | None = None,
        labels: Sequence[str] = (),
        summary: str = "",
        auto_promote: bool = False,
        key: str = "",
    ) -> t.Version:
        """Bring an ONNX file as the next version of a model; the same idempotency key twice is one version."""
        params = {
            "dataset": dataset,
            "task_type": task_type,
            "label": list(labels),
            "summary": summary,
            "auto_promote": auto_promote,
        }
        made: t.Version = self._bring(f"models/{model}/versions", file, params, key)
        return made

    def import_version(self, model: str, file: Path, *, auto_promote: bool = False, key: str = "") -> t.Version:
        """Bring a version that was exported, as the next version of a model."""
        made: t.Version = self._bring(f"models/{model}/imports", file, {"auto_promote": auto_promote}, key)
        return made

    def _bring(self, path: str, file: Path | None, params: dict[str, Any], key: str) -> Any:
        headers = {"Idempotency-Key": key or str(uuid.uuid4()), "Content-Type": "application/octet-stream"}
        if file is None:
            return self._connection.call("POST", path, params=params, headers=headers)
        with file.open("rb") as content:
            return self._connection.call("POST", path, params=params, content=content, headers=headers)

    def export_version(self, model: str, version: int, target: Path) -> Path:
        """Take a version as one file, a zip of model and manifest."""
        return self._connection.download(f"models/{model}/versions/{version}/export", target)

    def archive_model(self, model: str, archived: bool = True) -> t.Model:
        """Hide a model from lists and promotion, or show it again."""
        changed: t.Model = self._connection.call("PATCH", f"models/{model}", json={"archived": archived})
        return changed

    def archive_version(self, model: str, version: int, archived: bool = True) -> t.Version:
        """Hide a version from lists and promotion, or show it again."""
        path = f"models/{model}/versions/{version}"
        changed: t.Version = self._connection.call("PATCH", path, json={"archived": archived})
        return changed

    def delete_version(self, model: str, version: int) -> None:
        """Delete a version for ever; not the champion, nor one that serves."""
        self._connection.send("DELETE", f"{API}/models/{model}/versions/{version}")

    def compare(self, model: str, version: int, other: int) -> t.Comparison:
        """Two versions: parameters that differ, metrics side by side."""
        found: t.Comparison = self._get(f"models/{model}/versions/{version}/comparison", other=other)
        return found

    def collect_garbage(self, *, dry_run: bool = True, grace_hours: float = 24) -> t.Garbage:
        """Collect artifacts that nobody names and data sets that nobody uses, or only count them."""
        body = {"dry_run": dry_run, "grace_hours": grace_hours}
        collected: t.Garbage = self._connection.call("POST", "artifacts/collection", json=body)
        return collected

    def datasets(self, name: str | None = None) -> list[t.Dataset]:
        """Data sets, newest first, without profile and preview."""
        found: list[t.Dataset] = self._get("datasets", name=name)["datasets"]
        return found

    def dataset(self, name: str, digest: str | None = None) -> t.Dataset:
        """A data set, the newest or that of a digest; `facts` has its profile and a preview."""
        found: t.Dataset = self._get(f"datasets/{name}", digest=digest)
        return found

    def bring_dataset(
        self,
        name: str,
        file: Path,
        *,
        like: str,
        format: str | None = None,  # noqa: A002
        key: str = "",
    ) -> t.Accepted:
        """Bring a file of rows as a data set that has the columns and labels of one of the library's."""
        found: t.Accepted = self._bring(f"datasets/{name}", file, {"like": like, "format": format}, key)
        return found

    def evaluations(self, model: str | None = None, version: int | None = None) -> list[t.Evaluation]:
        """Evaluations, newest first."""
        found: list[t.Evaluation] = self._get("evaluations", model=model, version=version)["evaluations"]
        return found

    def evaluation(self, evaluation_id: str) -> t.Evaluation:
        found: t.Evaluation = self._get(f"evaluations/{evaluation_id}")
        return found

    def deployments(self, model: str | None = None) -> list[t.Deployment]:
        found: list[t.Deployment] = self._get("deployments", model=model)["deployments"]
        return found

    def resources(self, model: str) -> t.Resources:
        """What is wanted for a model on each node, and what its versions have there now."""
        found: t.Resources = self._get(f"models/{model}/resources")
        return found

    def set_resources(
        self, model: str, *, instances_min: int = 1, instances_max: int = 1, pinned: bool = False
    ) -> t.Resources:
        """Let a model's instances follow its demand within bounds, and pin it in memory or not."""
        body = {"instances_min": instances_min, "instances_max": instances_max, "pinned": pinned}
        set_: t.Resources = self._connection.call("PUT", f"models/{model}/resources", json=body)
        return set_

    def predictions(
        self,
        model: str | None = None,
        *,
        prediction_id: str | None = None,
        evaluation: bool = False,
        limit: int = 100,
    ) -> list[t.Prediction]:
        """Answered predictions, newest first; those of evaluations only on request."""
        filters = {"model": model, "prediction_id": prediction_id, "evaluation": evaluation, "limit": limit}
        found: list[t.Prediction] = self._get("predictions", **filters)["predictions"]
        return found

    def timeline(self, correlation_id: str) -> list[t.Event]:
        """The events of one chain so far, in order."""
        events: list[t.Event] = self._get("events", correlation_id=correlation_id, follow=False)["events"]
        return events

    def follow_events(self, *, correlation_id: str = "", type: str = "") -> Iterator[t.Event]:  # noqa: A002
        """Events as they happen until the caller stops; with a correlation id from the beginning of its chain."""
        for event in self._connection.stream("events", {"correlation_id": correlation_id, "type": type}):
            yield t.Event(**event.data)  # type: ignore[typeddict-item]

    def host(self) -> t.HostMetrics:
        """CPU and memory of the host now."""
        metrics: t.HostMetrics = self._get("metrics/host")
        return metrics

    def api_keys(self) -> list[t.ApiKey]:
        keys: list[t.ApiKey] = self._get("api-keys")["keys"]
        return keys

    def create_api_key(self, name: str, roles: Sequence[str], *, expires_at: str | None = None) -> t.NewApiKey:
        """Make a key; its secret is in this answer and nowhere else."""
        body = {"name": name, "roles": list(roles), "expires_at": expires_at}
        made: t.NewApiKey = self._connection.call("POST", "api-keys", json=body)
        return made

    def revoke_api_key(self, key_id: str) -> t.ApiKey:
        revoked: t.ApiKey = self._connection.call("DELETE", f"api-keys/{key_id}")
        return revoked

    def users(self) -> list[t.User]:
        """The people who may log in."""
        users: list[t.User] = self._get("users")["users"]
        return users

    def create_user(self, name: str, roles: Sequence[str]) -> t.NewUser:
        """Let a person log in; the first password is in this answer and nowhere else."""
        made: t.NewUser = self._connection.call("POST", "users", json={"name": name, "roles": list(roles)})
        return made

    def update_user(self, user_id: str, *, roles: Sequence[str] | None = None, disabled: bool | None = None) -> t.User:
        """Give a user other roles; disable one, which ends all sessions, or enable again."""
        body = {"roles": None if roles is None else list(roles), "disabled": disabled}
        changed: t.User = self._connection.call("PATCH", f"users/{user_id}", json=body)
        return changed

    def reset_password(self, user_id: str) -> t.NewUser:
        """Make another password for a user who lost it; all sessions end."""
        reset: t.NewUser = self._connection.call("POST", f"users/{user_id}/password")
        return reset

    def change_password(self, current: str, new: str) -> None:
        """Take another password; all sessions end, this one too."""
        body = {"current_password": current, "new_password": new}
        self._connection.send("PUT", f"{API}/me/password", json=body)

    def _get(self, path: str, **params: Any) -> Any:
        return self._connection.call("GET", path, params=params)
