"""Domain predictions: the prediction log of inference, many rows a message; lossy under pressure, never in EVT."""

from typing import ClassVar

from shared.events.base import Event, Int64, Message, Timestamp


class Prediction(Message):
    """One answered request of the data plane: latency in microseconds, status as HTTP has it."""

    prediction_id: str = ""
    version: int = 0
    status: int = 0
    latency_us: Int64 = 0
    batch: int = 0
    key_id: str = ""
    trace_id: str = ""
    evaluation: bool = False
    at: Timestamp | None = None


class PredictionsLogged(Event):
    """Requests were answered; dropped counts the rows lost since the process started."""

    about: ClassVar[str] = "model"
    stream: ClassVar[str] = "PRED"
    model: str = ""
    node: str = ""
    rows: tuple[Prediction, ...] = ()
    dropped: Int64 = 0

    @classmethod
    def subject(cls, project: str) -> str:
        """The subject of all models of a project; one message names its model in place of the wildcard."""
        return f"pred.{project}.*"
