"""Service accounts: of their secrets the newest two count at most, the older one for a while."""

from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from services.auth.accounts import domain
from services.auth.accounts.domain import Secret
from shared.permissions import Role

NOW = datetime(2026, 5, 1, 12, tzinfo=UTC)


@given(st.lists(st.tuples(st.integers(0, 5000), st.integers(0, 5000)), max_size=8), st.integers(0, 10_000))
def test_secrets_overlap_for_as_long_as_was_said(rotations: list[tuple[int, int]], later: int) -> None:
    first, now = domain.new_secret(), NOW
    account = domain.draft(first, "ci", [Role.VIEWER], project="default", by="me", now=now)
    ends: list[tuple[str, datetime | None]] = [(first, None)]
    for pause, overlap in rotations:
        now += timedelta(seconds=pause)
        secret = domain.new_secret()
        account = domain.rotated(account, secret, timedelta(seconds=overlap), now)
        ends = [(ends[-1][0], now + timedelta(seconds=overlap)), (secret, None)]
        assert not account.accepts(first, now) or first in dict(ends)
    assert len(account.secrets) <= 2
    at = now + timedelta(seconds=later)
    for secret, end in ends:
        assert account.accepts(secret, at) == (end is None or at < end)
        assert secret not in repr(account)
    assert not account.accepts(domain.new_secret(), at)
    assert [Secret.of(secret.row()) for secret in account.secrets] == list(account.secrets)
