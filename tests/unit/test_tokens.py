"""Access tokens: signed by auth, checked by a gateway, and every forgery that is known refused."""

import base64
import hashlib
import hmac
import json
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from hypothesis import given
from hypothesis import strategies as st

from services.auth import tokens, users
from services.auth.tokens import GRACE, LEAD, LONGEST, SigningKey
from services.gateway.access import Gatekeeper
from services.gateway.credentials import CredentialCache, Principal, PublicKey
from services.gateway.tokens import MOST_REMEMBERED, Tokens
from shared.errors import Unauthenticated, Unavailable
from shared.permissions import Permission, Role
from shared.tokens import AUDIENCE, ISSUER, LEEWAY_SECONDS, TOKEN_TYPE, signing_key_name, user_name

NOW = datetime.now(UTC).replace(microsecond=0)
PRIVATE, OTHER = tokens.new_private_key(), tokens.new_private_key()
KID = PRIVATE["kid"]
PUBLIC = tokens.public_half(PRIVATE)
USER = users.draft("ada", [Role.VIEWER], "$argon2id$", project="default", by="me", now=NOW)


def public_key(private: dict[str, Any]) -> PublicKey:
    document = tokens.public_half(private)
    return PublicKey(signing_key_name(document["kid"]), jwt.PyJWK(document, "EdDSA"), document)


def gatekeeper(*more: Principal) -> tuple[Gatekeeper, CredentialCache]:
    cache = CredentialCache(stale_seconds=3600)
    cache.put(public_key(PRIVATE))
    for principal in more or [Principal.of(user_name(USER.id), USER.credential())]:
        cache.put(principal)
    cache.confirm()
    return Gatekeeper(cache), cache


GATE, _ = gatekeeper()
READER = Tokens({KID: public_key(PRIVATE)}.get)


def enter(token: str, gate: Gatekeeper = GATE) -> Principal:
    return gate.identify({b"authorization": b"Bearer " + token.encode("latin-1", "replace")})


def now() -> int:
    """Not that of the collection of tests, which may be longer ago than a token lives."""
    return int(time.time())


def claims(**changed: Any) -> dict[str, Any]:
    begun = now()
    good = {"iss": ISSUER, "aud": AUDIENCE, "sub": USER.id, "iat": begun, "exp": begun + 900, "jti": "1"}
    return {
        key: value for key, value in (good | {"project": "default", "epoch": 1} | changed).items() if value is not None
    }


def joined(*parts: Any) -> bytes:
    return b".".join(base64.urlsafe_b64encode(json.dumps(part).encode()).rstrip(b"=") for part in parts)


def by_hand(header: Any, body: Any, sign: Callable[[bytes], bytes] = lambda _: b"") -> str:
    """Parts joined as an attacker would, whom no library holds back."""
    text = joined(header, body)
    return (text + b"." + base64.urlsafe_b64encode(sign(text)).rstrip(b"=")).decode()


def signed(body: dict[str, Any], private: dict[str, Any] = PRIVATE, **changed: Any) -> str:
    header = {"alg": "EdDSA", "kid": private["kid"], "typ": TOKEN_TYPE} | changed
    kept = {name: value for name, value in header.items() if value is not None}
    return by_hand(kept, body, jwt.PyJWK(private, "EdDSA").key.sign)


def hmac_of(key: bytes) -> Callable[[bytes], bytes]:
    return lambda text: hmac.new(key, text, hashlib.sha256).digest()


def test_a_token_of_auth_is_good() -> None:
    begun = datetime.now(UTC).replace(microsecond=0)
    principal = enter(tokens.issue(USER, PRIVATE, begun, 900))
    assert (principal.key_id, principal.project, principal.epoch) == (USER.id, "default", 1)
    assert principal.expires == begun.timestamp() + 900
    assert Permission.MODELS_READ in principal.permissions and Permission.USERS_MANAGE not in principal.permissions
    assert enter(signed(claims(iat=int(begun.timestamp()), exp=int(begun.timestamp()) + 900))) == principal


RAW = jwt.PyJWK(PUBLIC, "EdDSA").key.public_bytes(Encoding.Raw, PublicFormat.Raw)
PEM = jwt.PyJWK(PUBLIC, "EdDSA").key.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
HS = {"alg": "HS256", "typ": TOKEN_TYPE, "kid": KID}
FORGED = {
    "alg none": lambda: by_hand(HS | {"alg": "none"}, claims()),
    "alg None": lambda: by_hand(HS | {"alg": "None"}, claims()),
    "HS256 with the public key": lambda: by_hand(HS, claims(), hmac_of(RAW)),
    "HS256 with its PEM": lambda: by_hand(HS, claims(), hmac_of(PEM)),
    "HS256 with its JWK": lambda: by_hand(HS, claims(), hmac_of(json.dumps(PUBLIC).encode())),
    "EdDSA in name, HMAC in truth": lambda: by_hand(HS | {"alg": "EdDSA"}, claims(), hmac_of(RAW)),
    "another key under our kid": lambda: signed(claims(), OTHER, kid=KID),
    "another key": lambda: signed(claims(), OTHER),
    "no kid": lambda: signed(claims(), kid=None),
    "hostile kid": lambda: signed(claims(), kid="../../dev/null"),
    "kid of a user": lambda: signed(claims(), kid=f"../user.{USER.id}"),
    "kid no text": lambda: by_hand(HS | {"alg": "EdDSA", "kid": [KID]}, claims()),
    "another typ": lambda: signed(claims(), typ="JWT"),
    "crit": lambda: signed(claims(), crit=["exp"]),
    "jku": lambda: signed(claims(), jku="http://127.0.0.1:1/jwks.json"),
    "jwk": lambda: signed(claims(), OTHER, kid=KID, jwk=tokens.public_half(OTHER)),
    "b64": lambda: signed(claims(), b64=True),
    "another audience": lambda: signed(claims(aud="urn:aimass:other")),
    "audiences": lambda: signed(claims(aud=[AUDIENCE, "other"])),
    "no audience": lambda: signed(claims(aud=None)),
    "another issuer": lambda: signed(claims(iss="urn:other")),
    "part of the issuer": lambda: signed(claims(iss=ISSUER[:-1])),
    "no issuer": lambda: signed(claims(iss=None)),
    "expired": lambda: signed(claims(iat=now() - 1000, exp=now() - 100)),
    "no end": lambda: signed(claims(exp=None)),
    "end as text": lambda: signed(claims(exp=str(now() + 900))),
    "too long": lambda: signed(claims(exp=now() + 960)),
    "begins later": lambda: signed(claims(iat=now() + 100, exp=now() + 200)),
    "no begin": lambda: signed(claims(iat=None)),
    "not before": lambda: signed(claims(nbf=now() + 100)),
    "no subject": lambda: signed(claims(sub=None)),
    "unknown subject": lambda: signed(claims(sub="01890000-0000-7000-8000-000000000000")),
    "no session": lambda: signed(claims(epoch=None)),
    "epoch as text": lambda: signed(claims(epoch="1")),
    "an ended session": lambda: signed(claims(epoch=0)),
    "another project": lambda: signed(claims(project="other")),
    "no project": lambda: signed(claims(project=None)),
    "session no text": lambda: signed(claims(sid=7)),
    "a list of sessions": lambda: signed(claims(sid=["a"])),
    "factor as text": lambda: signed(claims(needs_factor="no")),
    "no id": lambda: signed(claims(jti=None)),
    "no signature": lambda: signed(claims()).rpartition(".")[0] + ".",
    "two parts": lambda: signed(claims()).rpartition(".")[0],
    "four parts": lambda: signed(claims()) + ".x",
    "deep": lambda: by_hand([[]], claims()) + "." + "[" * 1500,
    "deep header": lambda: base64.urlsafe_b64encode(b"[" * 1400).decode() + ".e30.x",
    "too much": lambda: "x" * 5000,
}


@pytest.mark.parametrize("what", FORGED)
def test_a_forged_token_is_refused(what: str) -> None:
    token = FORGED[what]()
    for _ in range(2):
        with pytest.raises(Unauthenticated) as refused:
            enter(token)
        assert token not in str(refused.value)


@given(st.floats(min_value=0, max_value=1, exclude_max=True), st.characters(codec="ascii"))
def test_no_character_of_a_token_may_change(where: float, character: str) -> None:
    """But for the last one of a part, whose lowest bits base64 does not use."""
    good = signed(claims())
    place = int(where * len(good))
    changed = good[:place] + character + good[place + 1 :]
    last = place + 1 == len(good) or good[place + 1] == "."
    if changed != good and not last:
        with pytest.raises(Unauthenticated):
            enter(changed)


@given(st.one_of(st.text(max_size=300), st.lists(st.binary(max_size=40), min_size=3, max_size=3)))
def test_whatever_comes_is_refused_and_breaks_nothing(given: str | list[bytes]) -> None:
    parts = [base64.urlsafe_b64encode(part).decode() for part in given] if isinstance(given, list) else []
    with pytest.raises(Unauthenticated):
        READER.read(given if isinstance(given, str) else ".".join(parts))


@given(header=st.recursive(st.none() | st.booleans() | st.integers() | st.text(max_size=5), st.lists, max_leaves=3))
def test_whatever_a_header_holds(header: Any) -> None:
    for text in (header, {"alg": header}, {"alg": "EdDSA", "kid": header, "typ": TOKEN_TYPE}):
        with pytest.raises(Unauthenticated):
            READER.read(by_hand(text, claims(), lambda _: b"x" * 64))


def test_what_is_remembered_is_looked_at_again() -> None:
    """A token that was good is refused when it ends, and when its key or its session does."""
    clock = [float(now())]
    good = signed(claims())
    keys = {KID: public_key(PRIVATE)}
    reader = Tokens(keys.get, lambda: clock[0])
    assert reader.read(good) == reader.read(good)
    clock[0] += 900 + LEEWAY_SECONDS
    with pytest.raises(Unauthenticated, match="expired"):
        reader.read(good)
    clock[0] = float(now())
    keys.clear()
    with pytest.raises(Unauthenticated):
        reader.read(good)
    gate, cache = gatekeeper()
    principal = enter(good, gate)
    assert gate.is_valid(principal)
    cache.put(Principal.of(user_name(USER.id), users.with_password(USER, "").credential()))
    assert not gate.is_valid(principal)
    with pytest.raises(Unauthenticated, match="ended"):
        enter(good, gate)
    assert enter(signed(claims(epoch=3)), gate).epoch == 3, "the gateway learns later what auth has signed"


def test_one_session_ends_and_others_go_on() -> None:
    ended = users.without_session(USER, "one", NOW + timedelta(seconds=905), NOW)
    gate, _ = gatekeeper(Principal.of(user_name(USER.id), ended.credential()))
    with pytest.raises(Unauthenticated, match="ended"):
        enter(signed(claims(sid="one")), gate)
    assert enter(signed(claims(sid="other")), gate).session == "other"
    assert not gate.is_valid(enter(signed(claims(sid="one"))))


def test_who_needs_a_second_factor_may_set_one_up_and_nothing_else() -> None:
    assert enter(signed(claims(sid="one", needs_factor=True))).permissions == {Permission.PASSWORD_CHANGE}


def test_memory_has_an_end(monkeypatch: pytest.MonkeyPatch) -> None:
    assert MOST_REMEMBERED >= 1000
    monkeypatch.setattr("services.gateway.tokens.MOST_REMEMBERED", 3)
    reader = Tokens({KID: public_key(PRIVATE)}.get)
    for number in range(10):
        reader.read(signed(claims(jti=str(number))))
        assert len(reader._checked) <= 3


AGES = st.integers(min_value=-10, max_value=3000)


@given(ages=st.lists(AGES, max_size=6, unique=True), retired=st.sets(st.integers(0, 5)), own=st.sets(st.integers(0, 5)))
def test_the_key_that_signs(ages: list[int], retired: set[int], own: set[int]) -> None:
    """Ours, known to every gateway where one is, and good for as long as its token."""
    keys = [SigningKey(str(number), {}, NOW - timedelta(seconds=age)) for number, age in enumerate(ages)]
    keys = [tokens.retire(key, NOW) if int(key.kid) in retired else key for key in keys]
    later = NOW + timedelta(seconds=30)
    able = [key for key in keys if int(key.kid) in own and key.may_sign(later)]
    try:
        chosen = tokens.choose(keys, {str(number) for number in own}, later)
    except Unavailable:
        assert not able
    else:
        assert chosen in able and chosen.counts(later + LONGEST - timedelta(seconds=1))
        known = [key for key in able if key.created_at + LEAD <= later]
        assert chosen.created_at == max((key.created_at for key in known), default=chosen.created_at)


def test_a_rotation_leaves_no_moment_without_a_key() -> None:
    """The older one signs until the newer one is known, and counts until the last of its tokens has ended."""
    old = tokens.retire(SigningKey("old", {}, NOW - timedelta(days=1)), NOW)
    new, own = SigningKey("new", {}, NOW), {"old", "new"}
    assert tokens.choose([old, new], own, NOW).kid == "old"
    assert tokens.choose([old, new], own, NOW + LEAD).kid == "new"
    assert old.may_sign(NOW + LEAD) and old.counts(NOW + LEAD + LONGEST - timedelta(seconds=1))
    assert not old.counts(NOW + GRACE) and tokens.retire(old, NOW + LEAD) == old


def test_no_private_half_is_public() -> None:
    assert "d" in PRIVATE and PUBLIC.keys() == {"kty", "crv", "x", "kid", "use", "alg"}
    assert PRIVATE["d"] not in json.dumps(PUBLIC)
