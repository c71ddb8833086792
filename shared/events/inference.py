"""Domain inference: said by inference of requests that it accepted and answers later; no tensors travel here."""

from typing import ClassVar

from shared.events.base import Event, Int64


class InferenceCompleted(Event):
    """A request was answered by this version; its answer has so many bytes and is kept for a while."""

    about: ClassVar[str] = "inference_id"
    inference_id: str = ""
    model: str = ""
    version: int = 0
    size: Int64 = 0
    attempts: int = 0


class InferenceFailed(Event):
    """A request was answered with an error, and with this status as HTTP has it."""

    about: ClassVar[str] = "inference_id"
    inference_id: str = ""
    model: str = ""
    status: int = 0
    reason: str = ""
    attempts: int = 0


class InferenceCancelled(Event):
    """A request was given up by its caller before it was answered."""

    about: ClassVar[str] = "inference_id"
    inference_id: str = ""
    model: str = ""
    actor: str = ""


class DeliveryAbandoned(Event):
    """The answer of a request never got to its webhook; it can still be fetched."""

    about: ClassVar[str] = "inference_id"
    inference_id: str = ""
    model: str = ""
    webhook: str = ""
    attempts: int = 0
    reason: str = ""
