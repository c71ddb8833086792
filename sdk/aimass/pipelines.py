"""Pipelines: several steps submitted, seen, cancelled and cloned as one thing."""

from collections.abc import Mapping
from typing import Any, TypedDict

from aimass.calls import Call, call, get
from aimass.methods import method


class Step(TypedDict):
    """A step: waiting, running, succeeded, failed, skipped or cancelled; `note` says what it waits for or does."""

    name: str
    kind: str
    state: str
    after: list[str]
    task_id: str
    model: str
    version: int | None
    note: str
    error_class: str
    error_message: str
    approved_by: str
    spec: dict[str, Any]
    started_at: str | None
    ended_at: str | None


class Pipeline(TypedDict):
    """A pipeline: running, stopping, succeeded, failed or cancelled, and its steps in their order."""

    id: str
    project: str
    name: str
    state: str
    on_failure: str
    actor: str
    correlation_id: str
    cloned_from: str
    steps: list[Step]
    created_at: str | None
    ended_at: str | None


class Pipelines:
    """What a client can do with pipelines."""

    @method
    def submit_pipeline(self, definition: Mapping[str, Any], *, key: str = "") -> Call[Pipeline]:
        """Submit a pipeline: `steps`, and where wanted a `name` and `on_failure`; the same idempotency key is one."""
        return call("POST", "pipelines", json=dict(definition), key=key)

    @method
    def pipelines(
        self, *, state: str | None = None, before: str | None = None, limit: int = 50
    ) -> Call[list[Pipeline]]:
        """Pipelines, newest first, such as were submitted before one of them."""
        return get("pipelines", {"state": state, "before": before, "limit": limit}, take="pipelines")

    @method
    def pipeline(self, pipeline_id: str) -> Call[Pipeline]:
        """A pipeline and its steps."""
        return get(f"pipelines/{pipeline_id}")

    @method
    def cancel_pipeline(self, pipeline_id: str) -> Call[Pipeline]:
        """Stop a pipeline: what runs ends within seconds, and nothing else begins."""
        return call("POST", f"pipelines/{pipeline_id}/cancel", safe=True)

    @method
    def clone_pipeline(
        self,
        pipeline_id: str,
        steps: Mapping[str, Mapping[str, Any]] | None = None,
        *,
        name: str | None = None,
        on_failure: str | None = None,
        key: str = "",
    ) -> Call[Pipeline]:
        """Submit a pipeline again, with other values where `steps` names fields of its steps; `config` is added to."""
        body: dict[str, Any] = {"steps": {step: dict(fields) for step, fields in (steps or {}).items()}}
        given = {"name": name, "on_failure": on_failure}
        body |= {field: value for field, value in given.items() if value is not None}
        return call("POST", f"pipelines/{pipeline_id}/clone", json=body, key=key)

    @method
    def approve_step(self, pipeline_id: str, step: str) -> Call[Pipeline]:
        """Let a promotion go on that waits for somebody's approval."""
        return call("POST", f"pipelines/{pipeline_id}/steps/{step}/approve", safe=True)
