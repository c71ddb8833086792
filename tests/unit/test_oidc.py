"""ID tokens that do and do not count, and what groups give; no token chooses its own algorithm."""

import base64
import hashlib
import hmac
import json
import time
from datetime import UTC, datetime, timedelta
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from hypothesis import given
from hypothesis import strategies as st
from jwt.algorithms import ECAlgorithm, OKPAlgorithm, RSAAlgorithm

from services.auth.oidc import domain
from services.auth.oidc.checking import algorithm_of, check
from shared.errors import AimassError, Forbidden, InvalidInput, Unauthenticated
from shared.permissions import Role
from shared.rpc.oidc import ChangeIdentityProvider, CreateIdentityProvider

ISSUER, CLIENT, NONCE = "https://id.example.com", "platform", "n" * 43
RSA, EC, ED = rsa.generate_private_key(65537, 2048), ec.generate_private_key(ec.SECP256R1()), ed25519.Ed25519PrivateKey
PRIVATE: dict[str, Any] = {"RS256": RSA, "ES256": EC, "EdDSA": ED.generate()}
SHAPES: dict[str, Any] = {"RS256": RSAAlgorithm, "ES256": ECAlgorithm, "EdDSA": OKPAlgorithm}
KEYS = [
    json.loads(SHAPES[name].to_jwk(key.public_key())) | {"kid": name, "use": "sig"} for name, key in PRIVATE.items()
]
NOW = datetime(2030, 1, 1, tzinfo=UTC)


def claims(**changed: Any) -> dict[str, Any]:
    now = int(time.time())
    whole = {"iss": ISSUER, "sub": "ada", "aud": CLIENT, "exp": now + 300, "iat": now, "nonce": NONCE}
    return {name: value for name, value in (whole | changed).items() if value is not None}


def signed(algorithm: str = "RS256", kid: str | None = None, **changed: Any) -> str:
    headers = {"kid": kid or algorithm}
    return jwt.encode(claims(**changed), PRIVATE[algorithm], algorithm, headers=headers)


def checked(token: str, keys: list[dict[str, Any]] = KEYS) -> dict[str, Any]:
    return check(token, keys, issuer=ISSUER, client_id=CLIENT, nonce=NONCE)


@pytest.mark.parametrize("algorithm", PRIVATE)
def test_a_token_of_each_kind_of_key_counts(algorithm: str) -> None:
    assert checked(signed(algorithm))["sub"] == "ada"


def test_a_single_key_needs_no_name() -> None:
    token = jwt.encode(claims(), PRIVATE["ES256"], "ES256")
    [key] = [key for key in KEYS if key["kid"] == "ES256"]
    assert checked(token, [key])["sub"] == "ada"
    with pytest.raises(Unauthenticated):
        checked(token)


def part(value: object) -> str:
    raw = value if isinstance(value, bytes) else json.dumps(value).encode()
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


def by_hand(header: dict[str, Any], secret: bytes | None = None) -> str:
    head = f"{part(header)}.{part(claims())}"
    signature = part(hmac.new(secret, head.encode(), hashlib.sha256).digest()) if secret is not None else ""
    return f"{head}.{signature}"


PEM = RSA.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
ATTACKS: dict[str, str] = {
    "alg none": by_hand({"alg": "none", "kid": "RS256"}),
    "alg None": by_hand({"alg": "None"}),
    "HS256 with the public key": by_hand({"alg": "HS256", "kid": "RS256"}, PEM),
    "HS256 with nothing": by_hand({"alg": "HS256", "kid": "RS256"}, b""),
    "RS512 of a key of RS256": jwt.encode(claims(), RSA, "RS512", headers={"kid": "RS256"}),
    "key of another": signed("ES256", "RS256"),
    "unknown key": signed(kid="nobody"),
    "own key": jwt.encode(claims(), ED.generate(), "EdDSA", headers={"kid": "EdDSA", "jwk": KEYS[2]}),
    "other audience": signed(aud="somebody-else"),
    "no audience": signed(aud=None),
    "other issuer": signed(iss="https://evil.example.com"),
    "issuer with a slash": signed(iss=ISSUER + "/"),
    "ended": signed(exp=int(time.time()) - 60),
    "without an end": signed(exp=None),
    "of the future": signed(iat=int(time.time()) + 600),
    "not yet": signed(nbf=int(time.time()) + 600),
    "other nonce": signed(nonce="m" * 43),
    "no nonce": signed(nonce=None),
    "nonce of a kind": signed(nonce=[NONCE]),
    "several audiences without azp": signed(aud=[CLIENT, "other"]),
    "other azp": signed(azp="other"),
    "several audiences, other azp": signed(aud=[CLIENT, "other"], azp="other"),
    "nobody": signed(sub=None),
    "cut": signed()[:-5],
    "text": "no token",
    "nothing": "",
}


@pytest.mark.parametrize("attack", ATTACKS)
def test_an_attack_does_not_count(attack: str) -> None:
    with pytest.raises(Unauthenticated):
        checked(ATTACKS[attack])


def test_several_audiences_count_where_we_are_meant() -> None:
    assert checked(signed(aud=[CLIENT, "other"], azp=CLIENT))["sub"] == "ada"


@given(st.text(max_size=300))
def test_any_text_is_refused_as_no_token(text: str) -> None:
    with pytest.raises(Unauthenticated):
        checked(text)


@given(st.dictionaries(st.sampled_from(["kty", "crv", "alg", "use", "kid", "n"]), st.text(max_size=10) | st.integers()))
def test_no_key_of_a_stranger_crashes(key: dict[str, Any]) -> None:
    with pytest.raises(Unauthenticated):
        checked(signed(), [key])


def test_symmetric_keys_and_keys_that_encrypt_sign_nothing() -> None:
    assert algorithm_of({"kty": "oct", "k": "AAAA", "alg": "HS256"}) == ""
    assert algorithm_of({"kty": "RSA", "use": "enc"}) == ""
    assert algorithm_of({"kty": "RSA", "alg": "HS256"}) == ""


def provider(**changed: Any) -> domain.Provider:
    given: dict[str, Any] = {"name": "corp", "issuer": ISSUER, "client_id": CLIENT, "public_url": "https://ai.example"}
    request = CreateIdentityProvider(**given | {"group_roles": {"a": ["admin"], "v": ["viewer"]}} | changed)
    return domain.draft(request, None, project="default", by="root", now=NOW)


@given(st.recursive(st.none() | st.booleans() | st.integers() | st.sampled_from(["a", "v", "x"]), st.lists))
def test_groups_give_no_more_than_is_mapped(groups: Any) -> None:
    named = (
        {groups}
        if isinstance(groups, str)
        else {each for each in groups if isinstance(each, str)}
        if (isinstance(groups, list))
        else set()
    )
    wanted = {role for group, role in (("a", Role.ADMIN), ("v", Role.VIEWER)) if group in named}
    try:
        assert set(provider().roles_of({"groups": groups})) == wanted
    except Forbidden:
        assert not wanted


@given(st.text(max_size=80))
def test_a_name_is_one_or_is_refused(name: str) -> None:
    try:
        assert domain._NAME.fullmatch(provider().name_of({"preferred_username": name}))
    except Forbidden:
        assert not domain._NAME.fullmatch(name)


@given(st.text(max_size=60))
def test_a_browser_is_sent_on_to_the_own_machine_alone(text: str) -> None:
    for url in (text, f"http://127.0.0.1{text}", f"http://127.0.0.1:80/{text}"):
        try:
            kept = domain.pending("s", "b", "corp", url, NOW).forward_to
        except InvalidInput:
            continue
        assert kept == "" or kept.startswith("http://127.0.0.1:")
        assert "@" not in kept and "\\" not in kept


UNSAFE = (
    "http://example.com",
    "ftp://example.com",
    "https://",
    "https://a@b",
    "https://a:99999",
    "https://a#b",
    "https://a b",
    "http://127.0.0.1.example.com",
    "javascript:alert(1)",
    "https://a\\b",
    "",
)


@pytest.mark.parametrize("url", UNSAFE)
def test_no_endpoint_is_unsafe(url: str) -> None:
    assert not domain.is_safe(url)


def test_a_login_is_of_its_browser_for_ten_minutes() -> None:
    login = domain.pending("state", "browser", "corp", "", NOW)
    assert login.is_of("corp", "browser", NOW)
    assert not login.is_of("corp", "other", NOW)
    assert not login.is_of("other", "browser", NOW)
    assert not login.is_of("corp", "browser", NOW + timedelta(minutes=10))
    assert login.state_digest == hashlib.sha256(b"state").hexdigest()


def test_a_change_names_what_changes() -> None:
    before = provider()
    after = domain.changed(before, ChangeIdentityProvider(name="corp", client_id="other"), NOW)
    assert (after.client_id, after.group_roles, after.issuer) == ("other", before.group_roles, before.issuer)
    with pytest.raises(AimassError):
        domain.changed(before, ChangeIdentityProvider(name="corp", group_roles={}), NOW)
