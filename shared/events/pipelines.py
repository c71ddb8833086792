"""Domain pipelines: said by trainer."""

from typing import ClassVar

from shared.events.base import Event


class PipelineSubmitted(Event):
    """A pipeline was accepted; cloned_from names the one that it is like."""

    about: ClassVar[str] = "pipeline_id"
    pipeline_id: str = ""
    name: str = ""
    steps: tuple[str, ...] = ()
    on_failure: str = ""
    cloned_from: str = ""
    actor: str = ""


class PipelineStepChanged(Event):
    """A step of a pipeline began or ended: running, succeeded, failed, skipped or cancelled; note says why."""

    about: ClassVar[str] = "pipeline_id"
    pipeline_id: str = ""
    step: str = ""
    kind: str = ""
    state: str = ""
    task_id: str = ""
    model: str = ""
    version: int | None = None
    note: str = ""
    error_class: str = ""
    error_message: str = ""


class PipelineStepApproved(Event):
    """Somebody approved of a promotion that waited for that."""

    about: ClassVar[str] = "pipeline_id"
    audited: ClassVar[bool] = True
    pipeline_id: str = ""
    step: str = ""
    actor: str = ""


class PipelineStopped(Event):
    """Nothing else of a pipeline begins, and what runs is ended: it will be failed or cancelled."""

    about: ClassVar[str] = "pipeline_id"
    pipeline_id: str = ""
    state: str = ""
    actor: str = ""


class PipelineEnded(Event):
    """All steps of a pipeline have ended: it succeeded, failed or was cancelled."""

    about: ClassVar[str] = "pipeline_id"
    pipeline_id: str = ""
    name: str = ""
    state: str = ""
