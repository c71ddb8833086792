"""Second factors: a code counts within its moment and once; a recovery code counts once."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pyotp
from hypothesis import given
from hypothesis import strategies as st

from services.auth.factors import domain
from services.auth.factors.domain import EARLIER_OR_LATER, RECOVERY_CODES, STEP_SECONDS, Factor

NOW = datetime(2026, 5, 1, 12, tzinfo=UTC)
SECRET = domain.new_secret()
FACTOR = Factor("ada", b"sealed", NOW)


def code_at(seconds: int) -> str:
    return pyotp.TOTP(SECRET).at(NOW + timedelta(seconds=seconds))


@given(st.lists(st.tuples(st.integers(-90, 90), st.integers(0, 60)), max_size=30))
def test_each_code_counts_once_and_no_older_one_after_it(shown: list[tuple[int, int]]) -> None:
    """Whoever shows which code when; time goes on between."""
    factor, now, counted = FACTOR, NOW, set[int]()
    for offset, pause in shown:
        now += timedelta(seconds=pause)
        step = int((now + timedelta(seconds=offset)).timestamp()) // STEP_SECONDS
        code = pyotp.TOTP(SECRET).at(step * STEP_SECONDS)
        used = domain.accept(factor, SECRET, code, now)
        distance = step - int(now.timestamp()) // STEP_SECONDS
        if used is not None:
            assert step not in counted and abs(distance) <= EARLIER_OR_LATER and step > max(counted, default=0)
            counted.add(step)
            factor = used
        else:
            assert abs(distance) > EARLIER_OR_LATER or step <= max(counted, default=0)


def test_recovery_codes_count_once_each_however_they_are_typed() -> None:
    codes = domain.new_recovery_codes()
    assert len(set(codes)) == RECOVERY_CODES
    factor = domain.with_codes(FACTOR, codes)
    assert not any(code.replace("-", "") in str(factor) for code in codes)
    for number, code in enumerate(codes, 1):
        typed = code.upper().replace("-", " ") if number % 2 else f" {code}\n"
        used = domain.accept(factor, SECRET, typed, NOW)
        assert used is not None and len(used.recovery) == RECOVERY_CODES - number
        factor = used
        assert domain.accept(factor, SECRET, code, NOW) is None


@given(st.text(max_size=40))
def test_whatever_is_shown(text: str) -> None:
    factor = domain.with_codes(FACTOR, domain.new_recovery_codes())
    near = {code_at(seconds) for seconds in range(-STEP_SECONDS, 2 * STEP_SECONDS, STEP_SECONDS)}
    assert (domain.accept(factor, SECRET, text, NOW) is None) == (text.strip() not in near)


def test_the_vectors_of_the_standard() -> None:
    """RFC 6238, appendix B, in six digits."""
    secret = "GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ"
    for seconds, code in ((59, "287082"), (1111111109, "081804"), (1234567890, "005924"), (20000000000, "353130")):
        now = datetime.fromtimestamp(seconds, UTC)
        assert domain.accept(replace(FACTOR, last_step=0), secret, code, now) is not None


def test_what_an_app_reads() -> None:
    parsed = pyotp.parse_uri(domain.uri(SECRET, "ada@example.com"))
    assert isinstance(parsed, pyotp.TOTP)
    assert (parsed.secret, parsed.name, parsed.issuer) == (SECRET, "ada@example.com", "AI Mass")
