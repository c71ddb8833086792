"""Rules of users: passwords, epochs, and how long a name waits after failures."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.auth import users
from services.auth.users import FREE_FAILURES, LONGEST_WAIT, Attempts, User
from shared.credentials import Credential
from shared.errors import InvalidInput, TooManyAttempts
from shared.permissions import Role

NOW = datetime(2026, 5, 1, 12, tzinfo=UTC)
ROLES = st.lists(st.sampled_from(Role), min_size=1, max_size=6)


def user(*roles: Role) -> User:
    return users.draft("ada", roles or [Role.VIEWER], "$argon2id$secret", project="default", by="me", now=NOW)


@given(st.integers(min_value=0, max_value=10_000))
def test_a_wait_grows_and_ends(failures: int) -> None:
    wait = users.wait_after(failures)
    assert (wait == timedelta()) == (failures < FREE_FAILURES)
    assert wait <= users.wait_after(failures + 1) <= LONGEST_WAIT


@given(st.lists(st.integers(min_value=0, max_value=400), max_size=60))
def test_no_pace_of_guessing_is_faster_than_the_wait(pauses: list[int]) -> None:
    """Whatever the pauses, of all attempts only those count that came after the wait of the one before."""
    attempts, now, last = Attempts(), NOW, None
    for pause in pauses:
        now += timedelta(seconds=pause)
        try:
            counted = users.begin_attempt(attempts, now)
        except TooManyAttempts as error:
            assert error.retry_after is not None and now < attempts.blocked_until
            assert now + timedelta(seconds=error.retry_after) >= attempts.blocked_until
        else:
            assert last is None or now - last >= users.wait_after(attempts.failures)
            assert counted.failures == attempts.failures + 1
            attempts, last = counted, now


@given(roles=ROLES)
def test_what_gateways_learn_of_a_user(roles: list[Role]) -> None:
    made = user(*roles)
    credential = made.credential()
    assert Credential.model_validate_json(credential.model_dump_json()) == credential
    assert set(credential.roles) == set(roles) and len(credential.roles) == len(set(roles))
    for shown in (credential.model_dump_json(), made.view().model_dump_json()):
        assert "argon2" not in shown


@given(st.lists(st.sampled_from(["password", "disable", "enable"]), max_size=12))
def test_each_end_of_sessions_raises_the_epoch(steps: list[str]) -> None:
    """And nothing else does, nor lowers it."""
    current = user()
    for step in steps:
        before = current
        if step == "password":
            current = users.with_password(current, "$argon2id$other")
        else:
            current = users.disabled(current, NOW) if step == "disable" else users.enabled(current)
        ends = step == "password" or (step == "disable" and before.disabled_at is None)
        assert current.epoch == before.epoch + ends


def test_a_password_that_was_made_is_good_and_never_the_same() -> None:
    made = {users.make_password() for _ in range(20)}
    assert len(made) == 20
    for password in made:
        users.check_password(password, "ada")
        assert len(password) >= 12


@pytest.mark.parametrize("password", ["password1234", "Ada.Lovelace1", "aaaaaaaaaaaa", "qwertyuiop12", "111111111111"])
def test_a_password_that_can_be_guessed_is_refused(password: str) -> None:
    with pytest.raises(InvalidInput, match="password") as refused:
        users.check_password(password, "ada.lovelace1")
    assert password not in str(refused.value)


@given(st.text(min_size=12, max_size=256))
def test_any_text_is_judged(password: str) -> None:
    try:
        users.check_password(password, "ada")
    except InvalidInput as error:
        assert error.field == "new_password"


@given(st.lists(st.integers(min_value=0, max_value=400), max_size=60), st.integers(min_value=1, max_value=20))
def test_an_address_waits_after_more_failures_and_time_forgets(pauses: list[int], free: int) -> None:
    attempts, now, number = Attempts(), NOW, 0
    for pause in pauses:
        now += timedelta(seconds=pause)
        try:
            attempts, number = users.begin_attempt_from(attempts, free, now), number + 1
        except TooManyAttempts as error:
            assert number >= free and error.retry_after and now < attempts.blocked_until
    much_later = users.begin_attempt_from(attempts, free, now + timedelta(days=1))
    assert much_later.failures == 1


@pytest.mark.parametrize(
    ("address", "network"),
    [
        ("192.0.2.7", "192.0.2.7/32"),
        ("::ffff:192.0.2.7", "192.0.2.7/32"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("fe80::1%eth0", "fe80::/64"),
        ("", ""),
        ("testclient", ""),
    ],
)
def test_what_counts_as_one_address(address: str, network: str) -> None:
    assert users.network_of(address) == network
