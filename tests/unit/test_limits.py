"""Buckets are exact, also where replicas lease from each other, and a day's quota ends with the day."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.gateway.limits.bucket import SECOND, Account, Limit
from services.gateway.limits.members import Members
from services.gateway.limits.shares import batch

RATES = st.floats(0.01, 10_000)
BURSTS = st.integers(1, 1000)
PAUSES = st.lists(st.tuples(st.integers(0, 2 * SECOND), st.integers(1, 50)), max_size=200)


def limit_of(rate: float, burst: int, daily: int | None = None) -> Limit:
    found = Limit.of(rate, burst, daily)
    assert found is not None
    return found


@given(rate=RATES, burst=BURSTS, pauses=PAUSES)
def test_no_more_than_the_burst_and_what_the_time_brings(
    rate: float, burst: int, pauses: list[tuple[int, int]]
) -> None:
    limit, account, now, given_at = limit_of(rate, burst), Account(), 10**12, []
    for pause, wanted in pauses:
        now += pause
        grant = account.take(limit, now, 0, wanted)
        assert 0 <= grant.given <= wanted and 0 <= grant.left <= burst
        assert grant.given == wanted or grant.left == 0
        given_at += [now] * grant.given
    for first in range(0, len(given_at), max(1, len(given_at) // 20)):
        for last in range(first, len(given_at), max(1, len(given_at) // 20)):
            elapsed = given_at[last] - given_at[first]
            assert last - first + 1 <= burst + elapsed // limit.interval


@given(rate=RATES, burst=BURSTS)
def test_exactly_the_burst_and_one_more_when_it_says(rate: float, burst: int) -> None:
    limit, account, now = limit_of(rate, burst), Account(), 10**12
    assert [account.take(limit, now, 0).given for _ in range(burst)] == [1] * burst
    refused = account.take(limit, now, 0)
    assert refused.given == 0 and refused.wait == limit.interval
    assert account.take(limit, now + refused.wait - 1, 0).given == 0
    assert account.take(limit, now + refused.wait, 0).given == 1
    assert account.take(limit, now + refused.wait, 0).given == 0
    assert account.take(limit, now + refused.wait + burst * limit.interval, 0, burst + 1).given == burst


@given(burst=BURSTS, taken=st.integers(0, 1000), back=st.integers(0, 1000))
def test_what_goes_back_can_be_had_again(burst: int, taken: int, back: int) -> None:
    limit, account = limit_of(1, burst, 10_000), Account()
    given_now = account.take(limit, 10**12, 0, taken).given
    account.give_back(limit, min(back, given_now))
    assert account.take(limit, 10**12, 0, 2000).given == burst - given_now + min(back, given_now)


def test_a_day_has_its_quota() -> None:
    limit = Limit.of(None, None, 3)
    assert limit is not None
    account = Account()
    assert [account.take(limit, 0, 7).given for _ in range(5)] == [1, 1, 1, 0, 0]
    assert account.take(limit, 0, 7).left_today == 0 and account.take(limit, 0, 8).left_today == 2
    assert not account.is_unused(10**12, 8) and account.is_unused(10**12, 9)
    both = limit_of(1000, 2, 3)
    account = Account()
    assert [account.take(both, 0, 1).given for _ in range(3)] == [1, 1, 0]
    assert [account.take(both, SECOND, 1).given for _ in range(2)] == [1, 0]


@given(burst=BURSTS, rate=RATES, replicas=st.integers(1, 9))
def test_shares_together_are_no_more_than_the_whole(burst: int, rate: float, replicas: int) -> None:
    limit = limit_of(rate, burst)
    share = limit.share(replicas)
    assert share.burst * replicas <= max(burst, replicas)
    assert math.isclose(SECOND / share.interval * replicas, SECOND / limit.interval)


@given(burst=BURSTS, rate=RATES, replicas=st.integers(2, 9), order=st.lists(st.integers(0, 8), max_size=400))
def test_leases_of_many_replicas_never_exceed_the_account(
    burst: int, rate: float, replicas: int, order: list[int]
) -> None:
    limit, account, leased, let_in = limit_of(rate, burst), Account(), [0] * replicas, 0
    for turn in order:
        who = turn % replicas
        if not leased[who]:
            seen = account.take(limit, 10**12, 0, 0)
            leased[who] = account.take(limit, 10**12, 0, batch(limit, seen, replicas)).given
        if leased[who]:
            leased[who] -= 1
            let_in += 1
    assert let_in <= burst
    if len(order) >= burst * 2 and rate < 20:
        assert let_in + sum(leased) == burst


@pytest.mark.parametrize("number", [1, 2, 5])
def test_replicas_agree_on_who_keeps_an_account(number: int) -> None:
    now = [0.0]
    names = [f"node-{n}" for n in range(number)]
    views = [Members(name, lambda: now[0]) for name in names]
    for view in views:
        for name in names:
            view.hear(name)
    identities = [f"key-{n}" for n in range(200)]
    homes = [[view.home(identity) for identity in identities] for view in views]
    assert all(each == homes[0] for each in homes) and set(homes[0]) == set(names)
    if number > 1:
        now[0] = 100
        for name in names[1:]:
            views[1].hear(name)
        views[1].forget_silent()
        moved = [views[1].home(identity) for identity in identities]
        assert names[0] not in moved
        assert all(new == old for new, old in zip(moved, homes[0], strict=True) if old != names[0])
