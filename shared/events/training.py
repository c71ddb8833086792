"""Domain training: said by trainer."""

from typing import Any, ClassVar

from shared.events.base import Event
from shared.events.common import GateCondition, Signature


class TrainingRequested(Event):
    """A training task was accepted."""

    about: ClassVar[str] = "task_id"
    task_id: str = ""
    model: str = ""
    parameters: dict[str, Any] = {}
    seed: int = 0


class TrainingStarted(Event):
    """A worker holds the task and its process runs; resumed_epoch > 0 when it goes on from a checkpoint."""

    about: ClassVar[str] = "task_id"
    task_id: str = ""
    model: str = ""
    attempt: int = 0
    resumed_epoch: int = 0


class EpochCompleted(Event):
    """An epoch ended and its checkpoint is kept."""

    about: ClassVar[str] = "task_id"
    task_id: str = ""
    model: str = ""
    epoch: int = 0
    epochs: int = 0
    metrics: dict[str, float] = {}


class TrainingCompleted(Event):
    """A training task ended with a model artifact."""

    about: ClassVar[str] = "task_id"
    task_id: str = ""
    model: str = ""
    digest: str = ""
    dataset: str = ""
    dataset_digest: str = ""
    task_type: str = ""
    code_version: str = ""
    parameters: dict[str, Any] = {}
    metrics: dict[str, float] = {}
    labels: tuple[str, ...] = ()
    signature: Signature = Signature()
    gate: tuple[GateCondition, ...] = ()
    card: dict[str, Any] = {}
    auto_promote: bool = False


class TrainingFailed(Event):
    """A training task ended without a model."""

    about: ClassVar[str] = "task_id"
    task_id: str = ""
    model: str = ""
    error_class: str = ""
    error_message: str = ""


class TrainingCancelled(Event):
    """A training task was stopped by a person."""

    about: ClassVar[str] = "task_id"
    task_id: str = ""
    model: str = ""


class OptimisationCompleted(Event):
    """Another file was made of a version of a model: its parameters say how, its metrics what that changed."""

    about: ClassVar[str] = "task_id"
    task_id: str = ""
    model: str = ""
    version: int = 0
    digest: str = ""
    parameters: dict[str, Any] = {}
    metrics: dict[str, float] = {}
    auto_promote: bool = False
