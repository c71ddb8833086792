"""What a version must state, and which version an alias may point at; pure."""

from dataclasses import dataclass
from enum import Enum, auto
from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from shared.errors import Conflict
from shared.events.common import GateCondition, Signature
from shared.names import Digest, Slug

CHAMPION = "champion"


class Lineage(BaseModel):
    """Where a version comes from; a finished training that cannot say so is not registered."""

    model_config = ConfigDict(frozen=True, extra="ignore")
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


@dataclass(frozen=True)
class Version:
    """A version of one model: its number and the digest of its artifact."""

    number: int
    digest: str


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
    """What becomes of an alias; stale means that the champion changed since the comparison."""

    outcome: Outcome
    reason: str = ""
    stale: bool = False


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
    if evaluation is None:
        return f"version {candidate.number} has no evaluation of its digest {candidate.digest[:12]}"
    if evaluation.digest != candidate.digest:
        digests = f"{evaluation.digest[:12]}, not of {candidate.digest[:12]}"
        return f"evaluation {evaluation.id} is of digest {digests}, which version {candidate.number} has"
    if not evaluation.passed:
        return f"version {candidate.number} did not pass its evaluation {evaluation.id}"
    return None


def decide_alias(
    alias: str, candidate: Version, pointing: Version | None, evaluation: Evaluation | None, expected: int | None
) -> Decision:
    """Whether a person may point the alias there: any alias may move freely, `champion` by the rule of promotion.

    Raises Conflict when the alias does not point where the person thinks.
    """
    found = pointing.number if pointing else None
    if expected is not None and expected != found:
        where = f"version {found}" if found else "no version"
        raise Conflict(f"alias {alias!r} points at {where} now, not at version {expected}", field="expected")
    if alias == CHAMPION:
        return decide_promotion(candidate, pointing, evaluation, compare=False)
    return Decision(Outcome.KEEP if pointing == candidate else Outcome.POINT)
