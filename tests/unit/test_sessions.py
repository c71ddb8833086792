"""Sessions: every refresh token counts once, one of before ends the session, and time ends it too."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from services.auth import users
from services.auth.sessions import domain
from services.auth.sessions.domain import Lifetimes, Verdict
from services.auth.users import MOST_ENDED
from shared.credentials import key_digest
from shared.permissions import Role
from shared.rpc.sessions import REFRESH_PATTERN

START = datetime(2026, 5, 1, 12, tzinfo=UTC)
LIFETIMES = Lifetimes(timedelta(days=30), timedelta(days=7), timedelta(seconds=10))
USER = users.draft("ada", [Role.VIEWER], "$argon2id$", project="default", by="me", now=START)


class Family(RuleBasedStateMachine):
    """One session, and all tokens that were ever given out of it, as an honest client and a thief may show them."""

    @initialize()
    def start(self) -> None:
        self.now = START
        self.session, token = domain.begin(USER, "127.0.0.1", START, LIFETIMES)
        self.given, self.turned = [token], START
        self.counted: set[str] = set()
        self.is_over = False

    @rule(seconds=st.integers(min_value=0, max_value=3 * 86400))
    def wait(self, seconds: int) -> None:
        self.now += timedelta(seconds=seconds)

    @rule()
    def refresh(self) -> None:
        self._show(self.given[-1])

    @precondition(lambda self: len(self.given) > 1)
    @rule(back=st.integers(min_value=1, max_value=8))
    def show_an_older_one(self, back: int) -> None:
        self._show(self.given[max(0, len(self.given) - 1 - back)])

    @rule(secret=st.text(alphabet="0123456789abcdef", min_size=64, max_size=64))
    def guess(self, secret: str) -> None:
        token = self.given[0][:36] + secret
        assert domain.session_of(token) == self.session.id
        assert domain.judge(self.session, token, self.now, LIFETIMES.grace) is Verdict.UNKNOWN

    def _show(self, token: str) -> None:
        """As the desk does."""
        verdict = domain.judge(self.session, token, self.now, LIFETIMES.grace)
        if not self.session.lasts(USER, self.now, LIFETIMES.idle):
            self.is_over = True
            return
        assert not self.is_over, "what ended stays so"
        age = len(self.given) - 1 - self.given.index(token)
        if age == 0:
            assert verdict is Verdict.CURRENT and token not in self.counted
            self.counted.add(token)
            self.session, following = domain.turn(self.session, token, "", self.now)
            self.given.append(following)
            self.turned = self.now
        elif age == 1 and self.now < self.turned + LIFETIMES.grace:
            assert verdict is Verdict.REPEATED
            assert domain.successor(self.session, token) == self.given[-1], "a repeat gets what was given before"
        else:
            assert verdict is Verdict.REUSED
            self.session, self.is_over = domain.ended(self.session, self.now), True

    @invariant()
    def it_is_one_chain(self) -> None:
        assert len(set(self.given)) == len(self.given) == self.session.turns + 1
        assert all(REFRESH_PATTERN.fullmatch(token) for token in self.given)
        assert self.session.token_digest == key_digest(self.given[-1])
        assert not any(token in repr(self.session) for token in self.given)

    @invariant()
    def time_ends_it(self) -> None:
        lasts = self.session.lasts(USER, self.now, LIFETIMES.idle)
        assert not lasts or self.now < min(START + LIFETIMES.whole, self.session.last_used_at + LIFETIMES.idle)


TestFamily = Family.TestCase


def test_what_ends_all_sessions_ends_each() -> None:
    session, _ = domain.begin(USER, "", START, LIFETIMES)
    assert session.lasts(USER, START, LIFETIMES.idle)
    for user in (users.with_password(USER, ""), users.disabled(USER, START)):
        assert not session.lasts(user, START, LIFETIMES.idle)
    again = users.enabled(users.disabled(USER, START))
    assert not session.lasts(again, START, LIFETIMES.idle), "the session of before does not come back"


def test_without_a_grace_a_repeat_is_reuse() -> None:
    session, token = domain.begin(USER, "", START, LIFETIMES)
    turned, _ = domain.turn(session, token, "", START)
    assert domain.judge(turned, token, START, timedelta()) is Verdict.REUSED


def test_another_session_derives_other_tokens() -> None:
    session, token = domain.begin(USER, "", START, LIFETIMES)
    other, _ = domain.begin(USER, "", START, LIFETIMES)
    assert domain.judge(other, token, START, LIFETIMES.grace) is Verdict.UNKNOWN
    assert domain.successor(session, token) != domain.successor(replace(session, chain=other.chain), token)


@given(st.text(max_size=150))
def test_whatever_is_shown(text: str) -> None:
    session, token = domain.begin(USER, "", START, LIFETIMES)
    assert domain.session_of(text) is None
    assert domain.session_of(token + text) in ((session.id,) if not text else (None,))
    assert domain.judge(session, text, START, LIFETIMES.grace) is Verdict.UNKNOWN


@pytest.mark.parametrize("number", [1, MOST_ENDED, MOST_ENDED + 1])
def test_gateways_are_told_of_ended_sessions_for_as_long_as_their_tokens_last(number: int) -> None:
    user, until = USER, START + timedelta(seconds=905)
    for each in range(number):
        user = users.without_session(user, str(each), until, START)
    assert len(user.credential().ended) == (number if number <= MOST_ENDED else 0)
    assert user.epoch == USER.epoch + (number > MOST_ENDED), "too many end all"
    later = users.without_session(user, "later", until + timedelta(hours=1), until)
    assert later.credential().ended == ("later",)
