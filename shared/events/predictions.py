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


class PredictionColumns(Message):
    """Answered requests of the data plane, an entry of each list for each; times in seconds since 1970."""

    prediction_ids: tuple[str, ...] = ()
    versions: tuple[int, ...] = ()
    statuses: tuple[int, ...] = ()
    latencies_us: tuple[int, ...] = ()
    batches: tuple[int, ...] = ()
    key_ids: tuple[str, ...] = ()
    trace_ids: tuple[str, ...] = ()
    evaluations: tuple[bool, ...] = ()
    times: tuple[float, ...] = ()


class PredictionsLogged(Event):
    """Requests were answered, told as columns or as rows; dropped counts those lost since the process started."""

    about: ClassVar[str] = "model"
    stream: ClassVar[str] = "PRED"
    model: str = ""
    node: str = ""
    rows: tuple[Prediction, ...] = ()
    dropped: Int64 = 0
    columns: PredictionColumns = PredictionColumns()

    @classmethod
    def subject(cls, project: str) -> str:
        """The subject of all models of a project; one message names its model in place of the wildcard."""
        return f"pred.{project}.*"
