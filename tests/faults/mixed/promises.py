"""What was promised against what was found; each function answers with what is wrong, nothing when all is kept."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class Told:
    """An event in the stream; `number` is that of its aggregate, as its source counts."""

    source: str
    id: str
    type: str
    aggregate: str
    number: int

    @property
    def identity(self) -> str:
        return f"{self.source}|{self.id}"


def effects(kind: str, acknowledged: Iterable[str], found: Mapping[str, int]) -> list[str]:
    """Each that was acknowledged has one effect, and there is no effect that nobody asked for."""
    asked = set(acknowledged)
    wrong = [f"lost: {kind} {name} was acknowledged and is not there" for name in sorted(asked - found.keys())]
    wrong += [f"twice: {kind} {name} has {times} effects" for name, times in sorted(found.items()) if times > 1]
    return wrong + [f"unasked: {kind} {name}" for name in sorted(found.keys() - asked)]


def numbers(told: Iterable[Told], counted: Mapping[tuple[str, str], int]) -> list[str]:
    """Each aggregate's events are 1, 2, 3 … as far as its owner has counted, each with one identity."""
    ids: dict[tuple[str, str], dict[int, set[str]]] = defaultdict(lambda: defaultdict(set))
    for event in told:
        ids[event.source, event.aggregate][event.number].add(event.id)
    wrong = []
    for (source, aggregate), last in sorted(counted.items()):
        found = ids[source, aggregate]
        missing = [number for number in range(1, last + 1) if number not in found]
        wrong += [f"lost: {source} committed events {missing} of {aggregate}, which no stream has"] if missing else []
        twice = [number for number, several in found.items() if len(several) > 1]
        wrong += [f"twice: {source} told {aggregate} {twice} under several identities"] if twice else []
    return wrong


def once_each(told: Iterable[Told], ends: Mapping[str, str]) -> list[str]:
    """Of these types, one event an aggregate: what ends is ended once; `ends` names what each type ends."""
    ids: dict[tuple[str, str], set[str]] = defaultdict(set)
    for event in told:
        if event.type in ends:
            ids[ends[event.type], event.aggregate].add(event.identity)
    return [
        f"twice: {what} {aggregate} {len(found)} times"
        for (what, aggregate), found in sorted(ids.items())
        if len(found) > 1
    ]


def heard(consumer: str, told: Iterable[Told], types: set[str], noted: set[str]) -> list[str]:
    """What a consumer hears it has noted as handled."""
    missing = {event.identity for event in told if event.type in types} - noted
    return [f"lost: {consumer} never handled {identity}" for identity in sorted(missing)]


def dead_letters(found: Iterable[tuple[str, str]], expected: Iterable[tuple[str, str]]) -> list[str]:
    """Of (consumer, message): what was poison is dead once for each who hears it, and nothing else is dead."""
    counted, wanted = Counter(found), Counter(expected)
    wrong = [f"lost: poison {message} is not dead for {consumer}" for consumer, message in (wanted - counted)]
    return wrong + [f"dead: {message} for {consumer}" for consumer, message in (counted - wanted)]
