"""What it costs to know a caller, to let him in and to count him: CPU of the gateway's own code, a request.

Keys are asked for in random order, so that the processor's caches hold few of many.
"""

import argparse
import gc
import random
import statistics
import sys
import time
from collections.abc import Callable

from services.gateway.access import Gatekeeper, authorise
from services.gateway.credentials import CredentialCache, Principal
from services.gateway.limits.limits import Limits
from services.gateway.limits.shares import Shares
from services.gateway.limits.uses import Uses
from services.gateway.settings import Settings
from shared.bus import Bus
from shared.credentials import Credential, key_digest
from shared.keys import new_secret
from shared.permissions import Permission
from shared.settings import ServiceSettings

Headers = dict[bytes, bytes]
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
    """A gateway's memory with so many keys, each of one of so many roles, and requests that come with them."""

    def __init__(self, keys: int, granted: list[frozenset[Permission]], bounds: dict[str, object]) -> None:
        bus = Bus("gateway", ServiceSettings())
        self._uses = Uses(bus, 60)
        self._limits = Limits(Settings(port=1), Shares(bus), self._uses)
        cache = CredentialCache(3600)
        self._gate = Gatekeeper(cache)
        self.requests: list[Headers] = []
        for number in range(keys):
            secret = new_secret()
            digest = key_digest(secret)
            credential = Credential.model_validate({"key_id": f"key-{number}", "name": "n", **bounds})
            found = Principal.of(digest, credential)
            permissions = granted[number % len(granted)]
            cache.put(Principal(digest, found.key_id, "default", permissions, rules=found.rules))
            self.requests.append({b"authorization": b"Bearer " + secret.encode(), b"host": b"gateway"})
        cache.confirm()
        random.Random(2).shuffle(self.requests)  # noqa: S311

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


def microseconds(act: Callable[[Headers], None], requests: list[Headers], calls: int, rounds: int = 7) -> float:
    """CPU of one call: the median of rounds, without the loop around it."""
    wanted = [requests[turn % len(requests)] for turn in range(calls)]
    found = []
    for _ in range(rounds):
        begun = time.process_time()
        for headers in wanted:
            act(headers)
        found.append(time.process_time() - begun)
    return statistics.median(found) / calls * 1e6


def table(calls: int, many: int) -> list[str]:
    lines = [f"| µs of CPU a request | 1 key, 1 role | {many:,} keys, 1,000 roles |", "|---|---|---|"]
    for name, bounds in CASES.items():
        cells = []
        for number, of_roles in ((1, 1), (many, 1000)):
            bench = Bench(number, roles(of_roles), bounds)
            gc.collect()
            gc.freeze()
            cells.append(f"{microseconds(bench.enter, bench.requests, calls):.1f}")
        lines.append(f"| {name} | {' | '.join(cells)} |")
    return lines


def main() -> int:
    parser = argparse.ArgumentParser(prog="./justw bench-identity", description=__doc__)
    parser.add_argument("--calls", type=int, default=100_000)
    parser.add_argument("--keys", type=int, default=100_000)
    given = parser.parse_args()
    lines = table(given.calls, given.keys)
    print("\n".join(lines))  # noqa: T201
    worst = max(float(cell) for line in lines[2:] for cell in line.split("|")[2:-1])
    return int(worst > MOST_MICROSECONDS)


if __name__ == "__main__":
    sys.exit(main())
