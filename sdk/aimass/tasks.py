"""The library, and tasks: submitting them, watching them, reading what they log."""

import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, TypedDict, cast

from aimass import types as t
from aimass.calls import Call, Flow, Item, Items, Pause, bring, call, download, get
from aimass.errors import DeadlineExceeded, Unavailable
from aimass.methods import method, stream
from aimass.streams import follow

LONGEST_LIST = 1000
ENDED = ("succeeded", "failed", "cancelled")


class Terms(TypedDict, total=False):
    """On which terms a task runs: how urgent it is, where (`local` or `ray`), what it takes of a node (`cores`,
    `memory` in bytes, `gpus`), what it may not exceed (`seconds`, `memory`), retries by cause, tasks that must have
    succeeded before, tags, a remark.
    """

    priority: int
    place: str
    resources: Mapping[str, float]
    limits: Mapping[str, float]
    retries: Mapping[str, int]
    after: Sequence[str]
    tags: Sequence[str]
    remark: str


class Tasks:
    """What a client can do with the library and with tasks."""

    @method
    def library(self) -> Call[list[t.Member]]:
        """The members of the model library, with the JSON schemas of their configs."""
        return get("library", take="members")

    @method
    def member(self, name: str) -> Call[t.Member]:
        """One member of the model library."""
        return get(f"library/{name}")

    @method
    def train(
        self,
        model: str,
        config: Mapping[str, Any] | None = None,
        *,
        training: Mapping[str, Any] | None = None,
        auto_promote: bool = True,
        dataset: str | None = None,
        terms: Terms | None = None,
        key: str = "",
    ) -> Call[t.Accepted]:
        """Submit a training task, on the member's own data set or another; the same idempotency key is one task.

        `training` says how it runs, the same for all members, such as `{"workers": 2}`.
        """
        body = {"kind": "train", "model": model, "config": dict(config or {}), "auto_promote": auto_promote}
        body |= {"training": dict(training)} if training else {}
        body |= {"dataset": dataset} if dataset else {}
        body |= terms or {}
        return call("POST", "tasks", json=body, key=key)

    @method
    def optimise(
        self, /, model: str, version: int, method: str, *, auto_promote: bool = False, key: str = "", **config: Any
    ) -> Call[t.Accepted]:
        """Submit a task that makes the next version of a model of one of its versions; `derived_from` names that.

        Methods are graph, int8-dynamic, int8-static, prune-channels and prune-weights; `config` is the method's own.
        """
        body = {"how": {"method": method, **config}, "auto_promote": auto_promote}
        return call("POST", f"models/{model}/versions/{version}/optimisations", json=body, key=key)

    @method
    def tasks(
        self,
        *,
        kind: str | None = None,
        state: str | None = None,
        model: str | None = None,
        tag: str | None = None,
        limit: int = 100,
        as_of: str | None = None,
    ) -> Flow[list[t.Task]]:
        """Tasks of all services, newest first, over as many answers as it takes; now, or at a time (RFC 3339)."""
        wanted = {"kind": kind, "state": state, "model": model, "tag": tag, "as_of": as_of}
        found: list[t.Task] = []
        cursor: str | None = None
        while len(found) < limit and cursor != "":
            page = yield from _page(wanted, min(limit - len(found), LONGEST_LIST), cursor)
            found, cursor = found + page["tasks"], page["next"]
        return found

    @stream
    def each_task(
        self,
        *,
        kind: str | None = None,
        state: str | None = None,
        model: str | None = None,
        tag: str | None = None,
        page: int = 100,
        as_of: str | None = None,
    ) -> Items[t.Task]:
        """All tasks, newest first, asked for `page` at a time as the caller goes on; now, or at a time (RFC 3339)."""
        wanted = {"kind": kind, "state": state, "model": model, "tag": tag, "as_of": as_of}
        cursor: str | None = None
        while cursor != "":
            answer = yield from _page(wanted, page, cursor)
            for found in answer["tasks"]:
                yield Item(found)
            cursor = answer["next"]

    @method
    def task(self, task_id: str, *, as_of: str | None = None) -> Call[t.Task]:
        """A task as its owner knows it now, or as it was at a time (RFC 3339)."""
        return get(f"tasks/{task_id}", {"as_of": as_of})

    @method
    def metrics(self, task_id: str) -> Call[list[t.MetricPoint]]:
        """The scalars of a task, by epoch."""
        return get(f"tasks/{task_id}/metrics", take="points")

    @method
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
    ) -> Call[t.Accepted]:
        """Run all rows of a file, or of a part of a data set, through a version, the one that serves unless another
        is named; the same idempotency key twice is one task.

        Formats are csv, jsonl, npz and parquet; the content of the file tells its own, which is that of the result too.
        """
        params = {"dataset": dataset, "part": part, "version": version, "alias": alias}
        return bring(f"models/{model}/batches", file, params | {"format": format, "output": output}, key)

    @method
    def batch_result(self, task_id: str, target: Path) -> Flow[Path]:
        """Take the result of a batch that has succeeded: a row for each row of its file, in their order."""
        return download(f"tasks/{task_id}/result", target)

    @method
    def cancel(self, task_id: str) -> Call[t.Task]:
        """Stop a task; a running one ends within seconds."""
        return call("POST", f"tasks/{task_id}/cancel")

    @method
    def pause(self, task_id: str) -> Call[t.Task]:
        """Let a task wait until it is resumed; a running one keeps its last checkpoint."""
        return call("POST", f"tasks/{task_id}/pause")

    @method
    def resume(self, task_id: str) -> Call[t.Task]:
        """Let a paused task go on."""
        return call("POST", f"tasks/{task_id}/resume")

    @method
    def clone(
        self, task_id: str, config: Mapping[str, Any] | None = None, *, terms: Terms | None = None, key: str = ""
    ) -> Call[t.Accepted]:
        """Submit the same task again, with another value for what `config` and `terms` name."""
        body = {"config": dict(config or {}), **(terms or {})}
        return call("POST", f"tasks/{task_id}/clone", json=body, key=key)

    @method
    def reproduce(self, task_id: str, *, key: str = "") -> Call[t.Accepted]:
        """Run a training that succeeded once more on the same data; `result.reproduction` then says what differs."""
        return call("POST", f"tasks/{task_id}/reproduce", key=key)

    @method
    def note(
        self,
        task_id: str,
        *,
        priority: int | None = None,
        tags: Sequence[str] | None = None,
        remark: str | None = None,
    ) -> Call[t.Task]:
        """Change how urgent a task is, its tags or its remark; what is None stays."""
        given = {"priority": priority, "tags": None if tags is None else list(tags), "remark": remark}
        body = {name: value for name, value in given.items() if value is not None}
        return call("PATCH", f"tasks/{task_id}", json=body)

    @stream
    def watch(self, task_id: str, *, every: float = 0.5, timeout: float = 3600) -> Items[t.Task]:
        """The task again and again until it has ended; an unreachable platform is waited for."""
        deadline = time.monotonic() + timeout
        while time.monotonic() < deadline:
            try:
                found: t.Task | None = yield from get(f"tasks/{task_id}")
            except (Unavailable, DeadlineExceeded):
                found = None
            if found is not None:
                yield Item(found)
                if found["state"] in ENDED:
                    return
            yield Pause(every)
        raise TimeoutError(f"{task_id} has not ended within {timeout:g} s")

    @method
    def logs(self, task_id: str, *, after: int = 0, limit: int = 1000) -> Call[list[t.LogLine]]:
        """Lines of a task's log, from the one after `after` on."""
        return get(f"tasks/{task_id}/logs", {"after": after, "limit": limit}, take="lines")

    @stream
    def each_log_line(self, task_id: str, *, after: int = 0, page: int = 1000) -> Items[t.LogLine]:
        """All lines of a task's log so far, asked for `page` at a time."""
        while True:
            answer = yield from get(f"tasks/{task_id}/logs", {"after": after, "limit": page})
            for line in answer["lines"]:
                yield Item(line)
            if len(answer["lines"]) < page:
                return
            after = answer["after"]

    @stream
    def follow_logs(self, task_id: str, *, after: int = 0) -> Items[t.LogLine]:
        """The log of a task from its beginning, or after a line, and on until the task has ended."""
        return follow(f"tasks/{task_id}/logs", {"follow": "true", "after": after}, _line, until="end")


def _line(document: dict[str, Any]) -> t.LogLine:
    return cast(t.LogLine, document)


def _page(wanted: Mapping[str, str | None], limit: int, cursor: str | None) -> Call[Any]:
    return get("tasks", {**wanted, "limit": limit, "cursor": cursor})
