"""Domain evaluation: said by evaluator."""

from typing import Any, ClassVar

from shared.events.base import Event
from shared.events.common import Verdict


class EvaluationRequested(Event):
    """An evaluation of a staged version was accepted."""

    about: ClassVar[str] = "evaluation_id"
    evaluation_id: str = ""
    model: str = ""
    version: int = 0
    digest: str = ""


class EvaluationCompleted(Event):
    """A version was scored as served, beside the champion on the same data."""

    about: ClassVar[str] = "evaluation_id"
    evaluation_id: str = ""
    model: str = ""
    version: int = 0
    digest: str = ""
    dataset_digest: str = ""
    metrics: dict[str, float] = {}
    report: dict[str, Any] = {}
    champion_version: int | None = None
    champion_digest: str = ""
    champion_metrics: dict[str, float] = {}
    verdict: Verdict = Verdict.UNSPECIFIED
    reasons: tuple[str, ...] = ()
    auto_promote: bool = False
    baseline_method: str = ""
    baseline_metric: str = ""
    baseline_metrics: dict[str, float] = {}
    baseline_beaten: bool | None = None


class EvaluationFailed(Event):
    """An evaluation could not be made."""

    about: ClassVar[str] = "evaluation_id"
    evaluation_id: str = ""
    model: str = ""
    version: int = 0
    digest: str = ""
    error_class: str = ""
    error_message: str = ""
