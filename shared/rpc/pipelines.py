"""Requests about pipelines, which trainer answers."""

from datetime import datetime
from typing import Any, ClassVar

from pydantic import Field

from shared.names import Slug
from shared.pipelines import Definition, OnFailure, PipelineId
from shared.rpc.base import Reply, Request

SERVICE = "trainer"


class StepView(Reply):
    """A step: waiting, running, succeeded, failed, skipped or cancelled; `note` says what it waits for or does.

    `task_id` is of its task, an evaluation's too; `spec` is what was asked for.
    """

    name: str
    kind: str
    state: str
    after: list[str] = []
    task_id: str = ""
    model: str = ""
    version: int | None = None
    note: str = ""
    error_class: str = ""
    error_message: str = ""
    approved_by: str = ""
    spec: dict[str, Any] = {}
    started_at: datetime | None = None
    ended_at: datetime | None = None


class PipelineView(Reply):
    """A pipeline: running, stopping, succeeded, failed or cancelled, and its steps in the order given."""

    id: str
    project: str
    name: str
    state: str
    on_failure: OnFailure
    actor: str = ""
    correlation_id: str = ""
    cloned_from: str = ""
    steps: list[StepView] = []
    created_at: datetime | None = None
    ended_at: datetime | None = None


class PipelineList(Reply):
    """Pipelines of a project, newest first; `next` is the id before which those that follow are."""

    pipelines: list[PipelineView] = []
    next: str = ""


class SubmitPipeline(Request[PipelineView]):
    """Accept a pipeline; all its steps are checked before any begins."""

    idempotent: ClassVar[bool] = True
    definition: Definition


class ClonePipeline(Request[PipelineView]):
    """Accept a pipeline like an earlier one; `steps` has fields of steps by name, of which `config` is added to."""

    idempotent: ClassVar[bool] = True
    pipeline_id: PipelineId
    name: Slug | None = None
    on_failure: OnFailure | None = None
    steps: dict[Slug, dict[str, Any]] = {}


class GetPipeline(Request[PipelineView]):
    """Show one pipeline."""

    pipeline_id: PipelineId


class ListPipelines(Request[PipelineList]):
    """Show pipelines of the project, newest first."""

    state: str | None = None
    before: PipelineId | None = None
    limit: int = Field(default=50, ge=1, le=200)


class CancelPipeline(Request[PipelineView]):
    """Stop a pipeline: what runs ends within seconds, and nothing else begins."""

    pipeline_id: PipelineId


class ApproveStep(Request[PipelineView]):
    """Let a promotion go on that waits for somebody's approval."""

    pipeline_id: PipelineId
    step: Slug
