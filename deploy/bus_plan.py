"""The plan of the admin step for the bus: what would be made, changed or refused, and what is left alone; pure."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum

from nats.js.api import ConsumerConfig, StreamConfig

from shared.drift import Difference, consumer_differences, stream_differences, words

FIXED_OF_STREAMS = frozenset({"retention", "storage", "max_consumers", "mirror", "no_ack", "sealed"})
ONLY_ON = frozenset({"deny_delete", "deny_purge"})
FIXED_OF_CONSUMERS = frozenset(
    {"ack_policy", "deliver_policy", "opt_start_seq", "opt_start_time", "replay_policy", "deliver_subject"}
)
SHOWN = 3


class Action(StrEnum):
    """What becomes of a part of the bus."""

    MAKE = "make"
    CHANGE = "change"
    REFUSE = "refuse"
    LEAVE = "leave"
    SAME = "same"


@dataclass(frozen=True)
class Step:
    """One stream or consumer (`EVT`, `EVT/trainer`), what becomes of it, and a line for each reason."""

    action: Action
    what: str
    notes: tuple[str, ...] = ()

    def __str__(self) -> str:
        return "\n".join([f"{self.action:7} {self.what}", *(f"        {note}" for note in self.notes)])


@dataclass(frozen=True)
class Kept:
    """What a stream holds: its size, the time of its oldest message, and how many messages each subject has."""

    config: StreamConfig
    messages: int = 0
    bytes: int = 0
    oldest: datetime | None = None
    subjects: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True)
class Position:
    """How far a consumer is, and of each subject with messages the places of the first and the last one."""

    config: ConsumerConfig
    settled: int = 0
    delivered: int = 0
    pending: int = 0
    places: Mapping[str, tuple[int, int]] = field(default_factory=dict)


def matches(pattern: str, subject: str) -> bool:
    """Whether a subject of the bus is among those of a pattern with * and >."""
    wanted, given = pattern.split("."), subject.split(".")
    for place, part in enumerate(wanted):
        if part == ">":
            return len(given) > place
        if place >= len(given) or part not in ("*", given[place]):
            return False
    return len(wanted) == len(given)


def is_heard(patterns: Iterable[str], subject: str) -> bool:
    return any(matches(pattern, subject) for pattern in patterns)


def stream_step(wanted: StreamConfig, kept: Kept | None, now: datetime) -> Step:
    """What becomes of a stream; nothing is changed where a message would go, or where the bus cannot do it."""
    name = wanted.name or ""
    if kept is None:
        return Step(Action.MAKE, name, (f"subjects {words('subjects', tuple(wanted.subjects or ()))}",))
    return _step(name, stream_differences(kept.config, wanted), lambda each: _loss(each, kept, now))


def _step(what: str, differences: list[Difference], why_not: Callable[[Difference], str]) -> Step:
    if not differences:
        return Step(Action.SAME, what)
    reasons = [(each, why_not(each)) for each in differences]
    notes = tuple(f"{_change(each)}{f': {reason}' if reason else ''}" for each, reason in reasons)
    return Step(Action.REFUSE if any(reason for _, reason in reasons) else Action.CHANGE, what, notes)


def _change(each: Difference) -> str:
    return f"{each.name}: {words(each.name, each.found)} -> {words(each.name, each.wanted)}"


def _loss(change: Difference, kept: Kept, now: datetime) -> str:
    """Why a change of a stream is not made; nothing where it loses nothing."""
    name, wanted = change.name, change.wanted
    if name in FIXED_OF_STREAMS or (name in ONLY_ON and not wanted):
        return "the bus cannot change this of a stream that is there; its messages would have to be moved to a new one"
    if name == "max_age" and wanted and kept.oldest and (age := (now - kept.oldest).total_seconds()) > wanted:
        return f"the oldest of {kept.messages} messages is {age / 3600:.1f} h old and would be deleted"
    if name == "max_bytes" and 0 <= wanted < kept.bytes:
        return f"{kept.bytes} bytes are stored: the oldest messages would be deleted"
    if name == "max_msgs" and 0 <= wanted < kept.messages:
        return f"{kept.messages} messages are stored: the oldest would be deleted"
    if name == "max_msgs_per_subject" and wanted >= 0:
        return _named("would be deleted in part", (s for s, count in kept.subjects.items() if count > wanted))
    if name == "subjects":
        return _named("would have no stream", (s for s in kept.subjects if not is_heard(wanted, s)))
    return ""


def _named(what: str, subjects: Iterable[str]) -> str:
    found = sorted(subjects)
    more = f" and {len(found) - SHOWN} more" if len(found) > SHOWN else ""
    return f"what is stored of {', '.join(found[:SHOWN])}{more} {what}" if found else ""


def consumer_step(stream: str, wanted: ConsumerConfig, held: Position | None, stored: int) -> Step:
    """What becomes of a durable consumer; nothing is changed where it would skip what it has not handled."""
    what = f"{stream}/{wanted.durable_name}"
    if held is None:
        return Step(Action.MAKE, what, (f"reads from the beginning of the {stored} messages stored",))
    differences = consumer_differences(held.config, wanted)
    step = _step(what, differences, lambda each: _skipped(each, held))
    news = [note for each in differences if (note := _not_heard(each, held))]
    return Step(step.action, what, (*step.notes, *news))


def _skipped(change: Difference, held: Position) -> str:
    if change.name in FIXED_OF_CONSUMERS:
        return (
            "the bus cannot change this of a consumer that is there, and deleting it loses its position "
            f"(handled up to {held.settled}, {held.pending} to come)"
        )
    if change.name == "filter_subjects":
        lost = _of(change.found, change.wanted, held)
        return _named("is not handled yet and would be skipped", (s for s in lost if held.places[s][1] > held.settled))
    return ""


def _not_heard(change: Difference, held: Position) -> str:
    """What a wider filter does not bring: a consumer never goes back."""
    if change.name != "filter_subjects":
        return ""
    new = _of(change.wanted, change.found, held)
    return _named("came before its position and stays unheard", (s for s in new if held.places[s][0] <= held.delivered))


def _of(inside: tuple[str, ...], outside: tuple[str, ...], held: Position) -> Iterator[str]:
    """The stored subjects of one filter that the other leaves out; no filter is all."""
    for subject in held.places:
        if (not inside or is_heard(inside, subject)) and outside and not is_heard(outside, subject):
            yield subject


@dataclass(frozen=True)
class Plan:
    """All steps, in the order in which they are taken."""

    steps: tuple[Step, ...]

    @property
    def refused(self) -> bool:
        return any(step.action is Action.REFUSE for step in self.steps)

    @property
    def changes(self) -> bool:
        return any(step.action in (Action.MAKE, Action.CHANGE) for step in self.steps)

    def __str__(self) -> str:
        shown = [str(step) for step in self.steps if step.action is not Action.SAME]
        same = sum(step.action is Action.SAME for step in self.steps)
        return "\n".join([*shown, f"{same} as declared"])
