"""What it costs to know a caller, to let him in and to count him: CPU of the gateway's own code, a request.

One gateway's memory holds many keys of many roles, and keys are drawn in three ways: the same one again, as traffic
does (by Zipf's law: the n-th busiest asks a n-th as often), and each time another, which is in no cache of a processor.
"""

import argparse
import gc
import itertools
import random
import statistics
import sys
import time
from collections.abc import Iterator
from dataclasses import replace

from services.gateway.access import Gatekeeper, authorise
from services.gateway.credentials import CredentialCache, Principal
from services.gateway.limits.limits import Limits
from services.gateway.limits.shares import Shares
from services.gateway.limits.uses import Uses
from services.gateway.metering import INFER, Counters, Meter
from services.gateway.settings import Settings
from shared.bus import Bus
from shared.credentials import Credential, key_digest
from shared.keys import new_secret
from shared.permissions import Permission
from shared.settings import ServiceSettings

Headers = dict[bytes, bytes]
ROUND, CHUNK = 10_000, 100
MOST_MICROSECONDS = 15
ADDRESS, MODEL = "192.0.2.7", "digits-cnn"
NARROWED = {"scopes": ["infer"], "models": ["digits-*", "spam-*"], "addresses": ["192.0.2.0/24"]}
CASES: dict[str, dict[str, object]] = {
    "no limit": {},
    "a rate": {"rate": 1_000_000, "burst": 1_000_000},
    "a rate, a quota, scopes, models, addresses": NARROWED
    | {"rate": 1_000_000, "burst": 1_000_000, "daily_requests": 10**12},
}


def roles(number: int) -> list[frozenset[Permission]]:
    """Sets of permissions as roles of one's own grant them, all with infer."""
    chosen = random.Random(1)  # noqa: S311
    others = [permission for permission in Permission if permission is not Permission.INFER]
    return [frozenset([Permission.INFER, *chosen.sample(others, 8)]) for _ in range(number)]


class Bench:
    """A gateway's memory with so many keys, each of one of so many roles, all of which have asked before."""

    def __init__(self, keys: int, granted: list[frozenset[Permission]], bounds: dict[str, object]) -> None:
        bus, self._cache, self._counters = Bus("gateway", ServiceSettings()), CredentialCache(3600), Counters()
        self._limits = Limits(Settings(port=1), Shares(bus), Uses(bus, 60))
        self._gate, self._meter = Gatekeeper(self._cache), Meter(bus, self._cache, 5, self._counters)
        self.secrets = [self._add(number, granted[number % len(granted)], bounds) for number in range(keys)]
        self._cache.confirm()
        for shown in self.secrets:
            self.enter({b"authorization": shown})
        self.tell()
        random.Random(2).shuffle(self.secrets)  # noqa: S311

    def _add(self, number: int, permissions: frozenset[Permission], bounds: dict[str, object]) -> bytes:
        secret = new_secret()
        digest = key_digest(secret)
        found = Principal.of(digest, Credential.model_validate({"key_id": f"key-{number}", "name": "n", **bounds}))
        self._cache.put(replace(found, permissions=permissions))
        return b"Bearer " + secret.encode()

    def enter(self, headers: Headers) -> None:
        """As the Open Inference Protocol does with every request."""
        principal = self._gate.identify(headers)
        ticket = self._limits.enter(principal, ADDRESS)
        if ticket is not None:
            self._limits.check(ticket)
            self._limits.headers(ticket)
        authorise(principal, Permission.INFER)
        if principal.rules is not None:
            principal.rules.check_model(MODEL)
        self._meter.admit(principal)
        self._meter.count(principal, MODEL, INFER, 200, 0.001, 100, 100)

    def tell(self) -> None:
        """As the gateway does every few seconds."""
        for told in self._counters.untold():
            self._counters.is_told(told)


def same(secrets: list[bytes]) -> Iterator[bytes]:
    return itertools.repeat(secrets[0])


def as_traffic(secrets: list[bytes]) -> Iterator[bytes]:
    weights = list(itertools.accumulate(1 / rank for rank in range(1, len(secrets) + 1)))
    chosen = random.Random(3)  # noqa: S311
    while True:
        yield from chosen.choices(secrets, cum_weights=weights, k=ROUND)


def each_another(secrets: list[bytes]) -> Iterator[bytes]:
    return itertools.cycle(secrets)


def microseconds(bench: Bench, drawn: Iterator[bytes], rounds: int) -> float:
    """CPU of one call: the median of rounds. Headers are new and at hand, as they are after a request was read."""
    found = []
    for _ in range(rounds):
        spent = 0.0
        for _ in range(ROUND // CHUNK):
            wanted = [{b"authorization": bytes(bytearray(next(drawn))), b"host": b"gateway"} for _ in range(CHUNK)]
            begun = time.process_time()
            for headers in wanted:
                bench.enter(headers)
            spent += time.process_time() - begun
        found.append(spent)
        bench.tell()
    return statistics.median(found) / ROUND * 1e6


def table(rounds: int, many: int) -> list[str]:
    columns = ("1 key, 1 role", "the same", "as traffic", "each another")
    lines = ["| µs of CPU a request | " + " | ".join(columns) + " |", "|---" * (len(columns) + 1) + "|"]
    for name, bounds in CASES.items():
        one, bench = Bench(1, roles(1), bounds), Bench(many, roles(1000), bounds)
        gc.collect()
        gc.freeze()
        cells = [microseconds(one, same(one.secrets), rounds)]
        cells += [microseconds(bench, draw(bench.secrets), rounds) for draw in (same, as_traffic, each_another)]
        lines.append(f"| {name} | {' | '.join(f'{cell:.1f}' for cell in cells)} |")
    return lines


def main() -> int:
    parser = argparse.ArgumentParser(prog="./justw bench-identity", description=__doc__)
    parser.add_argument("--rounds", type=int, default=10)
    parser.add_argument("--keys", type=int, default=100_000)
    given = parser.parse_args()
    lines = table(given.rounds, given.keys)
    print("\n".join(lines))  # noqa: T201
    worst = max(float(cell) for line in lines[2:] for cell in line.split("|")[2:-1])
    return int(worst > MOST_MICROSECONDS)


if __name__ == "__main__":
    sys.exit(main())
