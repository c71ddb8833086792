"""Rules of API keys: secrets, expiry, and the last admin key."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.auth import domain
from services.auth.domain import ApiKey
from shared.credentials import Credential, key_digest
from shared.errors import Conflict, InvalidInput
from shared.keys import FORM, is_mistyped, new_secret
from shared.permissions import Role

NOW = datetime(2026, 5, 1, 12, tzinfo=UTC)
ROLES = st.lists(st.sampled_from(Role), min_size=1, max_size=6)
MOMENTS = st.datetimes(timezones=st.just(UTC))


def key(*roles: Role, **facts: Any) -> ApiKey:
    drafted = domain.draft(
        new_secret(), project="default", name="a key", roles=roles or [Role.VIEWER], created_by="me", now=NOW
    )
    return ApiKey(**vars(drafted) | facts)


def test_secrets_are_long_and_never_the_same() -> None:
    secrets = {new_secret() for _ in range(100)}
    assert len(secrets) == 100
    assert all(FORM.fullmatch(secret) and not is_mistyped(secret) for secret in secrets)


@given(roles=ROLES)
def test_a_key_keeps_its_digest_and_never_its_secret(roles: list[Role]) -> None:
    secret = new_secret()
    made = domain.draft(secret, project="p", name="n", roles=roles, created_by="me", now=NOW)
    assert made.digest == key_digest(secret)
    assert secret.startswith(made.prefix) and len(made.prefix) == 10
    for shown in (repr(made), made.view().model_dump_json(), made.credential().model_dump_json()):
        assert secret not in shown
    assert set(made.roles) == set(roles) and len(made.roles) == len(set(roles))


@given(roles=ROLES)
def test_a_credential_survives_the_bucket(roles: list[Role]) -> None:
    credential = key(*roles, expires_at=NOW).credential()
    assert Credential.model_validate_json(credential.model_dump_json()) == credential


@given(moment=MOMENTS)
def test_a_key_expires_in_the_future_and_within_ten_years(moment: datetime) -> None:
    def make() -> ApiKey:
        return domain.draft(
            "aim_x", project="p", name="n", roles=[Role.ADMIN], created_by="me", now=NOW, expires_at=moment
        )

    if NOW < moment <= NOW + domain.LONGEST:
        made = make()
        assert made.is_active(NOW) and not made.is_active(moment)
    else:
        with pytest.raises(InvalidInput, match="expires_at"):
            make()


def test_a_moment_without_a_time_zone_is_refused() -> None:
    naive = datetime(2027, 1, 1)  # noqa: DTZ001
    with pytest.raises(InvalidInput, match="time zone"):
        domain.draft("aim_x", project="p", name="n", roles=[Role.ADMIN], created_by="me", now=NOW, expires_at=naive)


def test_a_revoked_key_is_refused_from_then_on_and_keeps_its_time() -> None:
    revoked = domain.revoke(key(), [], NOW)
    assert revoked.revoked_at == NOW and not revoked.is_active(NOW)
    assert domain.revoke(revoked, [], NOW + timedelta(days=1)) == revoked


@given(others=st.lists(st.tuples(st.booleans(), st.booleans()), max_size=4))
def test_an_active_admin_key_always_remains(others: list[tuple[bool, bool]]) -> None:
    """The others: (revoked, expired)."""
    first = key(Role.ADMIN)
    admins = [first] + [
        key(Role.ADMIN, revoked_at=NOW if revoked else None, expires_at=NOW if expired else None)
        for revoked, expired in others
    ]
    if any(not revoked and not expired for revoked, expired in others):
        assert not domain.revoke(first, admins, NOW).is_active(NOW)
    else:
        with pytest.raises(Conflict, match="last admin key"):
            domain.revoke(first, admins, NOW)


def test_an_expired_admin_key_may_be_revoked() -> None:
    expired = key(Role.ADMIN, expires_at=NOW - timedelta(days=1))
    assert domain.revoke(expired, [expired], NOW).revoked_at == NOW
