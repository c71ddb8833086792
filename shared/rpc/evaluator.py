"""Requests that evaluator answers."""

from datetime import datetime
from typing import Any

from shared.names import Slug
from shared.rpc.base import Reply, Request


class EvaluationView(Reply):
    """An evaluation of a version as served, beside the champion and the member's baseline on the same data."""

    id: str
    model: str
    version: int
    digest: str
    state: str
    dataset_digest: str = ""
    metrics: dict[str, float] = {}
    report: dict[str, Any] = {}
    champion_version: int | None = None
    champion_metrics: dict[str, float] = {}
    baseline_method: str = ""
    baseline_metric: str = ""
    baseline_metrics: dict[str, float] = {}
    baseline_beaten: bool | None = None
    passed: bool | None = None
    reasons: list[str] = []
    created_at: datetime | None = None
    ended_at: datetime | None = None


class EvaluationList(Reply):
    """Evaluations of a project, newest first."""

    evaluations: list[EvaluationView] = []


class ListEvaluations(Request[EvaluationList]):
    """Show the evaluations of the project, or of one model."""

    model: Slug | None = None
    version: int | None = None


class GetEvaluation(Request[EvaluationView]):
    """Show one evaluation."""

    evaluation_id: str
