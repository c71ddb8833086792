"""What a node decides of its memory and of instances: who makes room, who comes back, more or fewer; pure.

Memory is in bytes, times are seconds of one monotonic clock.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Final

MIB: Final = 1024 * 1024
BUSY: Final = 0.9
CALM: Final = 0.6


@dataclass(frozen=True)
class Bounds:
    """What people want of a model on each node; without a word of theirs it has one instance and may be parked."""

    least: int = 1
    most: int = 1
    pinned: bool = False

    def clamp(self, count: int) -> int:
        return max(self.least, min(self.most, count))


@dataclass(frozen=True)
class Demand:
    """What a version was asked since the last look: the longest wait, and the share of its instances that computed."""

    waited: float = 0.0
    busy: float = 0.0


@dataclass(frozen=True)
class Thresholds:
    """Demand counts as high from a wait of `waited` on, or when nearly all instances compute; what lasts for `up` or
    `down` seconds is answered with an instance more or less."""

    waited: float
    up: float
    down: float


@dataclass(frozen=True)
class Change:
    """Another number of instances, and why."""

    count: int
    reason: str


@dataclass
class Scaling:
    """Since when the demand of one version has been high, or low enough for one instance less."""

    high_since: float | None = None
    calm_since: float | None = None

    def decide(self, count: int, bounds: Bounds, demand: Demand, limits: Thresholds, now: float) -> Change | None:
        """The next number of instances; up soon, down after a long calm, and one at a time."""
        if count != bounds.clamp(count):
            return self._changed(bounds.clamp(count), f"the bounds are {bounds.least} to {bounds.most}")
        high = demand.waited >= limits.waited or demand.busy >= BUSY
        self.high_since = _since(self.high_since, high, now)
        self.calm_since = _since(self.calm_since, not high and _fits_fewer(count, demand), now)
        if count < bounds.most and _lasts(self.high_since, limits.up, now):
            return self._changed(count + 1, f"{_told(demand)}, for {limits.up:g} s")
        if count > bounds.least and _lasts(self.calm_since, limits.down, now):
            return self._changed(count - 1, f"{_told(demand)}; calm for {limits.down:g} s")
        return None

    def _changed(self, count: int, reason: str) -> Change:
        self.high_since = self.calm_since = None
        return Change(count, reason)


def _since(before: float | None, holds: bool, now: float) -> float | None:
    return (now if before is None else before) if holds else None


def _lasts(since: float | None, seconds: float, now: float) -> bool:
    return since is not None and now - since >= seconds


def _fits_fewer(count: int, demand: Demand) -> bool:
    """Whether one instance less would still leave time."""
    return count > 1 and demand.busy * count / (count - 1) < CALM


def _told(demand: Demand) -> str:
    return f"requests waited {demand.waited * 1000:.0f} ms, instances computed {demand.busy:.0%} of the time"


@dataclass(frozen=True)
class Resident:
    """A version in Triton: what it takes, when it was asked last, and whether it may go at all."""

    name: str
    memory: int
    used: float
    in_flight: int = 0
    pinned: bool = False

    def may_go(self) -> bool:
        return not self.pinned and not self.in_flight


@dataclass(frozen=True)
class Room:
    """Whether so much memory can be had, at once or `soon`, and who has to go for it, asked longest ago first."""

    fits: bool
    soon: bool = False
    parks: tuple[str, ...] = ()


def make_room(residents: Iterable[Resident], needed: int, budget: int, now: float, idle: float) -> Room:
    """Find memory for `needed` bytes more; a budget of 0 has no end. Who was asked within `idle` seconds stays now."""
    if not budget:
        return Room(True)
    residents = tuple(residents)
    excess = sum(each.memory for each in residents) + needed - budget
    movable = sorted((each for each in residents if each.may_go()), key=lambda each: (each.used, each.name))
    parks, freed = _first([each for each in movable if now - each.used >= idle], excess)
    if freed >= excess:
        return Room(True, parks=parks)
    return Room(False, soon=sum(each.memory for each in movable) >= excess, parks=parks)


def _first(residents: Iterable[Resident], excess: int) -> tuple[tuple[str, ...], int]:
    """As few from the front as free the excess, or all of them, and what they free."""
    names: list[str] = []
    freed = 0
    for each in residents:
        if freed >= excess:
            break
        names.append(each.name)
        freed += each.memory
    return tuple(names), freed


@dataclass
class Estimates:
    """What each version takes, as far as it is known: measured before, or by the size of its file."""

    each: int
    sizes: dict[str, int] = field(default_factory=dict)
    measured: dict[str, int] = field(default_factory=dict)

    def of(self, name: str, instances: int) -> int:
        """The bytes of so many instances; measured ones are those of one instance."""
        return instances * self.measured.get(name, self.each + self.sizes.get(name, 0))

    def note(self, found: Mapping[str, tuple[int, int]]) -> None:
        """Bytes and processes of versions, as measured."""
        self.measured |= {name: taken // count for name, (taken, count) in found.items() if count}


def in_mib(memory: int) -> str:
    return f"{memory / MIB:.0f} MiB"
