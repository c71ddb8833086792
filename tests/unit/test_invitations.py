"""Invitations: one token, once, within its time."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.auth.invitations import domain
from services.auth.invitations.domain import LONGEST, USUAL
from shared.errors import Conflict, InvalidInput
from shared.permissions import Role

NOW = datetime(2026, 5, 1, 12, tzinfo=UTC)


def invitation(ends_at: datetime | None = None) -> domain.Invitation:
    return domain.draft("aii_1", "ada", [Role.VIEWER], project="default", by="me", now=NOW, ends_at=ends_at)


@given(st.integers(min_value=-1000, max_value=1_000_000), st.integers(min_value=0, max_value=1_000_000))
def test_it_counts_within_its_time(seconds: int, later: int) -> None:
    try:
        made = invitation(NOW + timedelta(seconds=seconds))
    except InvalidInput as error:
        assert error.field == "ends_at" and not timedelta() < timedelta(seconds=seconds) <= LONGEST
        return
    now = NOW + timedelta(seconds=later)
    if later < seconds:
        made.check(now)
        assert made.user("$argon2id$", now).roles == (Role.VIEWER,)
    else:
        with pytest.raises(Conflict, match="expired"):
            made.check(now)


def test_without_an_end_it_has_one() -> None:
    assert invitation().ends_at == NOW + USUAL


@pytest.mark.parametrize(("fact", "told"), [("accepted_at", "accepted before"), ("revoked_at", "revoked")])
def test_it_says_why_it_does_not_count(fact: str, told: str) -> None:
    with pytest.raises(Conflict, match=told) as refused:
        replace(invitation(), **{fact: NOW}).check(NOW)
    assert refused.value.field == "token"


def test_a_token_is_never_the_same() -> None:
    assert len({domain.new_token() for _ in range(50)}) == 50 and "aii_1" not in repr(invitation())
