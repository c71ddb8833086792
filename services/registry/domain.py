"""What a version must state, and which version an alias may point at; pure."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import Enum, auto
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from shared.errors import Conflict, InvalidInput
from shared.events.common import GateCondition, Signature, TensorSpec
from shared.events.training import OptimisationCompleted
from shared.names import CHAMPION, Digest, Slug
from shared.rpc.registry import VersionView


class Described(BaseModel):
    """What is known of a version when it is registered; one that was brought may have little to say."""

    model_config = ConfigDict(frozen=True, extra="ignore")
    model: Slug
    digest: Digest
    source: str
    task_id: str = ""
    task_type: str = ""
    dataset: Slug | None = None
    dataset_digest: Digest | None = None
    code_version: str = ""
    parameters: dict[str, Any] = {}
    metrics: dict[str, float] = {}
    labels: tuple[str, ...] = ()
    signature: Signature
    gate: tuple[GateCondition, ...] = ()
    card: dict[str, Any] = {}
    derived_from: int | None = None


class Lineage(Described):
    """Where a trained version comes from; a finished training that cannot say so is not registered."""

    source: str = "training"
    model: Slug
    digest: Digest
    task_id: str = Field(min_length=1)
    task_type: str
    dataset: Slug
    dataset_digest: Digest
    code_version: str
    parameters: dict[str, Any]
    metrics: dict[str, float]
    labels: tuple[str, ...]
    signature: Signature
    gate: tuple[GateCondition, ...]
    card: dict[str, Any]


class Manifest(BaseModel):
    """What an exported version says of itself, as far as an import believes it."""

    model_config = ConfigDict(frozen=True, extra="ignore")
    task_type: str = Field(default="", max_length=64)
    dataset: Slug | Literal[""] = ""
    dataset_digest: Digest | Literal[""] = ""
    code_version: str = Field(default="", max_length=200)
    parameters: dict[str, Any] = {}
    metrics: dict[str, float] = {}
    labels: tuple[str, ...] = Field(default=(), max_length=1000)
    gate: tuple[GateCondition, ...] = Field(default=(), max_length=64)
    card: dict[str, Any] = {}


def derived(origin: VersionView, made: OptimisationCompleted) -> Described:
    """What is known of a version that was made of another one: all that is known of that, but for its file, the way
    that it was made and what that changed.
    """
    kept = origin.model_dump(include={"task_type", "code_version", "labels", "signature", "gate", "card"})
    facts = {"source": "optimisation", "derived_from": origin.version}
    data = {"dataset": origin.dataset or None, "dataset_digest": origin.dataset_digest or None}
    own = made.model_dump(include={"model", "digest", "task_id", "parameters", "metrics"})
    return Described.model_validate(kept | facts | data | own)


@dataclass(frozen=True)
class Reference:
    """A version that was evaluated: what a brought one must take and give to be evaluated alike."""

    model: str
    version: int
    task_type: str
    dataset: str
    dataset_digest: str
    labels: tuple[str, ...]
    signature: Signature
    gate: tuple[GateCondition, ...]


def with_reference(brought: Described, known: Sequence[Reference], dataset: str | None) -> Described:
    """The brought version with the data set and the gate of the first known one that it is like, if any.

    Raises InvalidInput when it is like none of those on the data set that was asked for.
    """
    objections = [_difference(brought, reference) for reference in known]
    for reference, objection in zip(known, objections, strict=True):
        if objection is None:
            names = ("task_type", "dataset", "dataset_digest", "labels", "gate")
            return brought.model_copy(update={name: getattr(reference, name) for name in names})
    if dataset is None:
        return brought
    reason = objections[0] if objections else "no version was trained on it yet, so nothing says what fits it"
    raise InvalidInput(f"it cannot be evaluated on data set {dataset!r}: {reason}", field="dataset")


def _difference(brought: Described, reference: Reference) -> str | None:
    what = f"version {reference.version} of {reference.model!r}"
    if _by_name(brought.signature.inputs) != _by_name(reference.signature.inputs):
        return f"it takes {_listed(brought.signature.inputs)}, {what} takes {_listed(reference.signature.inputs)}"
    if not _alike(brought.signature.outputs[0], reference.signature.outputs[0]):
        gives, expected = brought.signature.outputs[:1], reference.signature.outputs[:1]
        return f"its first output is {_listed(gives)}, that of {what} is {_listed(expected)}"
    if brought.task_type not in ("", reference.task_type):
        return f"its task type is {brought.task_type!r}, that of {what} is {reference.task_type!r}"
    if brought.labels not in ((), reference.labels):
        return f"its labels are not those of {what}"
    return None


def _by_name(specs: Sequence[TensorSpec]) -> dict[str, tuple[str, tuple[int, ...]]]:
    return {spec.name: (spec.datatype, spec.shape) for spec in specs}


def _alike(one: TensorSpec, other: TensorSpec) -> bool:
    """Whether two outputs can be scored alike; sizes that only one of them states may differ."""
    if one.datatype != other.datatype or len(one.shape) != len(other.shape):
        return False
    return all(-1 in pair or pair[0] == pair[1] for pair in zip(one.shape, other.shape, strict=True))


def _listed(specs: Sequence[TensorSpec]) -> str:
    return ", ".join(f"{spec.name[:64]!r} {spec.datatype} {list(spec.shape)}" for spec in specs[:8])


@dataclass(frozen=True)
class Version:
    """A version of one model: its number and the digest of its artifact."""

    number: int
    digest: str
    archived: bool = False


@dataclass(frozen=True)
class Evaluation:
    """What promotion asks of an evaluation; champion_digest is empty where there was no champion to compare with."""

    id: str
    digest: str
    passed: bool
    champion_digest: str


class Outcome(Enum):
    """POINT moves the alias, KEEP changes nothing because it is there already, REFUSE says why not."""

    POINT = auto()
    KEEP = auto()
    REFUSE = auto()


@dataclass(frozen=True)
class Decision:
    """What becomes of an alias; stale means that the champion changed since the comparison.

    Forced means that it moves although the reason speaks against it.
    """

    outcome: Outcome
    reason: str = ""
    stale: bool = False
    forced: bool = False


def decide_promotion(
    candidate: Version, champion: Version | None, evaluation: Evaluation | None, *, compare: bool = True
) -> Decision:
    """Whether the candidate becomes champion: only with a passing evaluation of its very digest.

    With `compare` (promotion by itself) the champion must also be the one that the evaluation compared with; its
    digest counts, for two versions of one digest answer alike.
    """
    if champion is not None and champion.number == candidate.number:
        return Decision(Outcome.KEEP)
    if (reason := _objection(candidate, evaluation)) is not None:
        return Decision(Outcome.REFUSE, reason)
    if compare and evaluation is not None and evaluation.champion_digest != (champion.digest if champion else ""):
        now = f"version {champion.number}" if champion else "none"
        return Decision(Outcome.REFUSE, f"the champion changed since the comparison: it is {now} now", stale=True)
    return Decision(Outcome.POINT)


def _objection(candidate: Version, evaluation: Evaluation | None) -> str | None:
    if candidate.archived:
        return f"version {candidate.number} is archived"
    if evaluation is None:
        return f"version {candidate.number} has no evaluation of its digest {candidate.digest[:12]}"
    if evaluation.digest != candidate.digest:
        digests = f"{evaluation.digest[:12]}, not of {candidate.digest[:12]}"
        return f"evaluation {evaluation.id} is of digest {digests}, which version {candidate.number} has"
    if not evaluation.passed:
        return f"version {candidate.number} did not pass its evaluation {evaluation.id}"
    return None


def decide_alias(
    alias: str,
    candidate: Version,
    pointing: Version | None,
    evaluation: Evaluation | None,
    expected: int | None,
    *,
    force: bool = False,
) -> Decision:
    """Whether a person may point the alias there: any alias may move freely, `champion` by the rule of promotion.

    Force sets aside that rule, but not that archived versions stay where they are. Raises Conflict when the alias
    does not point where the person thinks.
    """
    found = pointing.number if pointing else None
    if expected is not None and expected != found:
        where = f"version {found}" if found else "no version"
        raise Conflict(f"alias {alias!r} points at {where} now, not at version {expected}", field="expected")
    if found == candidate.number:
        return Decision(Outcome.KEEP)
    if candidate.archived:
        return Decision(Outcome.REFUSE, f"version {candidate.number} is archived")
    if alias != CHAMPION:
        return Decision(Outcome.POINT)
    decision = decide_promotion(candidate, pointing, evaluation, compare=False)
    if decision.outcome is Outcome.REFUSE and force:
        return Decision(Outcome.POINT, decision.reason, forced=True)
    return decision


def compare(left: Mapping[str, Any], right: Mapping[str, Any]) -> dict[str, tuple[Any, Any]]:
    """Two sets of facts side by side, by name; None stands for what is missing."""
    return {name: (left.get(name), right.get(name)) for name in sorted({*left, *right})}
