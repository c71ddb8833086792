"""Who tries keys learns nothing from how long a refusal takes; a measurement, so never part of the fast suite."""

import random
import time
from bisect import bisect_left, bisect_right
from statistics import median

import pytest

from services.gateway.access import Gatekeeper
from services.gateway.credentials import CredentialCache, Principal
from shared.credentials import Credential, key_digest
from shared.errors import Unauthenticated
from shared.keys import CHECK_DIGITS, new_secret, with_checksum

pytestmark = pytest.mark.slow
TRIES = 10_000
KEYS = 1_000


def refused_after(gate: Gatekeeper, key: str) -> int:
    headers = {b"authorization": b"Bearer " + key.encode()}
    begun = time.perf_counter_ns()
    with pytest.raises(Unauthenticated):
        gate.identify(headers)
    return time.perf_counter_ns() - begun


def test_a_key_that_begins_as_a_real_one_is_refused_no_later() -> None:
    cache, real = CredentialCache(3600), [new_secret() for _ in range(KEYS)]
    for secret in real:
        cache.put(Principal.of(key_digest(secret), Credential(key_id="k", name="n")))
    cache.confirm()
    gate, chosen = Gatekeeper(cache), random.Random(7)  # noqa: S311
    near: list[int] = []
    far: list[int] = []
    for _ in range(TRIES):
        begun, other = chosen.choice(real), new_secret()
        cut = -CHECK_DIGITS - 4
        like = with_checksum(begun[:cut] + other[cut:-CHECK_DIGITS])
        for key, times in chosen.sample([(like, near), (other, far)], 2):
            times.append(refused_after(gate, key))
    assert abs(median(near) - median(far)) < 0.1 * median(far)
    ordered = sorted(far)
    above = sum(bisect_left(ordered, each) + bisect_right(ordered, each) for each in near) / 2
    assert 0.45 < above / TRIES**2 < 0.55, "which of the two it was cannot be told better than by a coin"
