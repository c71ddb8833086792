"""Schedules: trainings that begin by the clock or when something happens."""

from collections.abc import Mapping
from typing import Any, TypedDict

from aimass.calls import Call, call, get, nothing
from aimass.methods import method


class Schedule(TypedDict):
    """What begins again and again, by `cron` (five fields, UTC) or `on` an event, and what became of the last turn."""

    project: str
    name: str
    cron: str | None
    on: dict[str, Any] | None
    task: dict[str, Any]
    enabled: bool
    overlap: bool
    actor: str
    next_at: str | None
    last_at: str | None
    last_task: str
    last_error: str
    created_at: str


class Scheduling:
    """What a client can do with schedules."""

    @method
    def schedules(self) -> Call[list[Schedule]]:
        """The schedules of the project, by name."""
        return get("schedules", take="schedules")

    @method
    def schedule(self, name: str) -> Call[Schedule]:
        """A schedule, its next turn and what became of the last one."""
        return get(f"schedules/{name}")

    @method
    def put_schedule(
        self,
        name: str,
        model: str,
        config: Mapping[str, Any] | None = None,
        *,
        cron: str | None = None,
        event: str | None = None,
        where: Mapping[str, Any] | None = None,
        dataset: str | None = None,
        auto_promote: bool = True,
        overlap: bool = False,
        enabled: bool = True,
    ) -> Call[Schedule]:
        """Let a training begin by `cron`, or on an `event` whose fields are as `where` says; an earlier one goes."""
        task = {"kind": "train", "model": model, "config": dict(config or {}), "auto_promote": auto_promote}
        task |= {"dataset": dataset} if dataset else {}
        trigger = {"event": event, "where": dict(where or {})} if event else None
        body = {"cron": cron, "on": trigger, "task": task, "overlap": overlap, "enabled": enabled}
        return call("PUT", f"schedules/{name}", json=body)

    @method
    def delete_schedule(self, name: str) -> Call[None]:
        """Forget a schedule; what it began goes on."""
        return nothing("DELETE", f"schedules/{name}")
