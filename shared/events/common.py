"""Messages that events of several domains hold."""

from enum import StrEnum

from shared.events.base import Message


class TaskState(StrEnum):
    """The states of a task."""

    UNSPECIFIED = "TASK_STATE_UNSPECIFIED"
    QUEUED = "TASK_STATE_QUEUED"
    RUNNING = "TASK_STATE_RUNNING"
    PAUSED = "TASK_STATE_PAUSED"
    SUCCEEDED = "TASK_STATE_SUCCEEDED"
    FAILED = "TASK_STATE_FAILED"
    CANCELLED = "TASK_STATE_CANCELLED"


class Verdict(StrEnum):
    """What a gate says of an evaluation."""

    UNSPECIFIED = "VERDICT_UNSPECIFIED"
    PASSED = "VERDICT_PASSED"
    FAILED = "VERDICT_FAILED"


class TensorSpec(Message):
    """A tensor's name, OIP datatype and shape; -1 stands for the batch axis."""

    name: str = ""
    datatype: str = ""
    shape: tuple[int, ...] = ()


class Signature(Message):
    """The inputs and outputs of a model."""

    inputs: tuple[TensorSpec, ...] = ()
    outputs: tuple[TensorSpec, ...] = ()


class GateCondition(Message):
    """One condition of a gate: metric, comparison (>=, <=, >, <) and threshold."""

    metric: str = ""
    operator: str = ""
    threshold: float = 0.0
