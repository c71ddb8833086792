"""What evaluator decides: whether a version meets its gate and keeps up with the champion; pure."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Any

from library.base import Condition, Gate, Model
from library.third_party import Catalogue
from shared.events.common import GateCondition, Signature

SCORE_TOLERANCE = 0.005
ERROR_TOLERANCE = 0.01


@dataclass(frozen=True)
class Version:
    """What evaluator knows of a version, from the event that registered it."""

    project: str
    model: str
    version: int
    digest: str
    task_type: str
    dataset: str
    dataset_digest: str
    train_part: str
    test_part: str
    labels: tuple[str, ...]
    signature: Signature
    gate: tuple[GateCondition, ...]
    auto_promote: bool

    def takes_the_same(self, other: "Version") -> bool:
        """Whether both can be asked the same; a champion that cannot is no rival."""
        return set(self.signature.inputs) == set(other.signature.inputs)


@dataclass(frozen=True)
class Champion:
    """The champion of a model, and the registry's number of the event that said so; no version while there is none."""

    version: int | None = None
    sequence: int = 0


@dataclass(frozen=True)
class Judgement:
    """The gate's verdict; reasons say in words what did not hold."""

    passed: bool
    reasons: tuple[str, ...]


@dataclass(frozen=True)
class Rivalry:
    """What a baseline reached, by its metric and all others, and whether it is beaten; nothing where there is none."""

    method: str = ""
    metric: str = ""
    metrics: Mapping[str, float] = field(default_factory=dict)
    beaten: bool | None = None


def member_of(version: Version, columns: Collection[str], catalogue: Catalogue) -> Model[Any] | None:
    """The member of the library that a version is of, if it names a baseline that can answer for such columns.

    They need not be of the member's own data set: people bring others like it.
    """
    member = catalogue.models.get(version.model)
    if member is None or member.baseline is None or not version.train_part:
        return None
    schema = catalogue.data_sets[member.dataset].schema
    wanted = {column.name for column in (*schema.features, schema.target)}
    is_the_same = (member.task_type, member.labels) == (version.task_type, version.labels)
    return member if is_the_same and wanted <= set(columns) else None


def rivalry(member: Model[Any] | None, metrics: Mapping[str, float], reached: Mapping[str, float]) -> Rivalry:
    """The figures of a version beside those that the baseline of its member reached."""
    if member is None or (baseline := member.baseline) is None:
        return Rivalry()
    return Rivalry(baseline.method, baseline.metric, reached, baseline.beaten(metrics, reached))


def judge(gate: Gate, metrics: Mapping[str, Any], champion: Mapping[str, Any] | None) -> Judgement:
    """Pass when every condition holds and the champion, if any, is not better by more than a little.

    The comparison is by the metric of the gate's first condition. A score, where more is better, has at most
    SCORE_TOLERANCE less than the champion's; an error, whose scale is the target's, is at most ERROR_TOLERANCE of the
    champion's larger.
    """
    reasons = [f"{found.metric} is {_shown(metrics, found)}, the gate asks {found}" for found in gate.failures(metrics)]
    if champion is not None and (worse := _worse(gate.conditions[0], metrics, champion)):
        reasons.append(worse)
    return Judgement(not reasons, tuple(reasons))


def _shown(metrics: Mapping[str, Any], condition: Condition) -> str:
    value = metrics.get(condition.metric)
    return f"{value:.4f}" if isinstance(value, float) else "missing"


def _worse(first: Condition, metrics: Mapping[str, Any], champion: Mapping[str, Any]) -> str:
    ours, theirs = metrics.get(first.metric), champion.get(first.metric)
    if not isinstance(ours, int | float) or not isinstance(theirs, int | float):
        return ""
    is_score = first.operator in (">=", ">")
    lost = theirs - ours if is_score else ours - theirs
    allowed = SCORE_TOLERANCE if is_score else ERROR_TOLERANCE * abs(theirs)
    return f"{first.metric} is {ours:.4f}, the champion has {theirs:.4f}" if lost > allowed else ""


def scalars(report: Mapping[str, Any]) -> dict[str, float]:
    """The single figures of a report."""
    return {
        name: float(value)
        for name, value in report.items()
        if isinstance(value, int | float) and not isinstance(value, bool)
    }
