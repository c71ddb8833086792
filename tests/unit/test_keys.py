"""The form of keys, what they are narrowed to, and where callers come from."""

import string
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address, ip_network

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from pydantic import ValidationError

from services.auth import domain
from services.auth.domain import ApiKey
from services.auth.keys import domain as keys
from services.gateway.access import authorise
from services.gateway.credentials import Principal
from services.gateway.limits.addresses import Origins, check_address, household, is_within, of_grpc
from services.gateway.limits.rules import Rules, is_within_models, matches, models_in
from shared.credentials import Credential, key_digest
from shared.errors import Conflict, Forbidden
from shared.keys import BASE62, FORM, KEY_PREFIX, Bounds, bounds_of, is_mistyped, new_secret, with_checksum
from shared.permissions import Permission, Role
from shared.rpc.auth import CreateApiKey

NOW = datetime(2026, 5, 1, 12, tzinfo=UTC)
DIGITS = st.text(alphabet=BASE62, min_size=43, max_size=43)
FOUR = st.ip_addresses(v=4).map(str)
SIX = st.ip_addresses(v=6).filter(lambda address: not address.ipv4_mapped).map(str)
ADDRESSES = st.ip_addresses().map(str)
NAMES = st.text(alphabet=string.ascii_lowercase + string.digits + "_-", min_size=1, max_size=20)
PROXY = ip_network("10.0.0.0/8")


@given(random=DIGITS, place=st.integers(4, 52), digit=st.sampled_from(BASE62))
def test_any_one_digit_that_is_wrong_is_noticed(random: str, place: int, digit: str) -> None:
    key = with_checksum(KEY_PREFIX + random)
    assert FORM.fullmatch(key) and not is_mistyped(key)
    assume(key[place] != digit)
    assert is_mistyped(key[:place] + digit + key[place + 1 :])


@given(random=DIGITS, place=st.integers(4, 51))
def test_two_neighbours_that_changed_places_are_noticed(random: str, place: int) -> None:
    key = with_checksum(KEY_PREFIX + random)
    assume(key[place] != key[place + 1])
    assert is_mistyped(key[:place] + key[place + 1] + key[place] + key[place + 2 :])


def test_keys_of_before_have_no_checksum_to_be_wrong() -> None:
    assert not is_mistyped(KEY_PREFIX + "0" * 64) and not is_mistyped("aim_x")
    assert new_secret() != new_secret()


def principal(**bounds: object) -> Principal:
    credential = Credential.model_validate({"key_id": "k", "name": "n", "roles": [Role.ENGINEER], **bounds})
    return Principal.of("d", Credential.model_validate_json(credential.model_dump_json()))


def test_a_scope_narrows_and_never_widens() -> None:
    narrow = principal(scopes=["infer", "keys:manage"])
    authorise(narrow, Permission.INFER)
    with pytest.raises(Forbidden, match="not for 'models:write'.*infer, keys:manage"):
        authorise(narrow, Permission.MODELS_WRITE)
    with pytest.raises(Forbidden, match="roles do not grant"):
        authorise(narrow, Permission.KEYS_MANAGE)
    assert principal().rules is None


@given(name=NAMES, prefix=NAMES)
def test_models_are_matched_by_name(name: str, prefix: str) -> None:
    assert matches((name,), name) and matches((f"{prefix}*",), prefix + name) and matches(("*",), name)
    assert matches((prefix,), name) == (prefix == name)
    assert not matches(("*", f"{prefix}*"), f"{prefix}.{name}") and matches((f"{prefix}.*",), f"{prefix}.{name}")
    rules = principal(models=[f"{prefix}-*"]).rules
    assert rules is not None
    rules.check_model(f"{prefix}-{name}")
    with pytest.raises(Forbidden, match="it is for"):
        rules.check_model(f"x{prefix}")


@given(one=st.lists(NAMES, max_size=3), other=st.lists(NAMES, max_size=3))
def test_patterns_within_patterns(one: list[str], other: list[str]) -> None:
    wide = tuple(f"{name}*" for name in one)
    assert is_within_models((*wide, *(f"{name}-*" for name in one)), wide) == bool(wide) or not wide
    assert is_within_models(tuple(other), ())
    assert not is_within_models((), ("a",)) and not is_within_models(("*",), ("a*",))


def test_models_are_found_however_deep() -> None:
    named = {"model": "a", "steps": [{"config": {"teacher": "b"}}, {"model": "c", "other": "d"}], "models": ["e"]}
    assert list(models_in(named)) == ["a", "b", "c"]


@given(address=ADDRESSES, data=st.data())
def test_an_address_is_in_its_networks_and_no_other(address: str, data: st.DataObject) -> None:
    found = ip_address(address)
    assume(getattr(found, "ipv4_mapped", None) is None)  # that is the IPv4 address, whatever it wears
    bits = data.draw(st.integers(0, found.max_prefixlen))
    network = ip_network(f"{address}/{bits}", strict=False)
    assert is_within(address, (str(network),))
    if bits:
        outside = type(found)(int(found) ^ (1 << (found.max_prefixlen - bits)))
        assert not is_within(str(outside), (str(network),))


def test_addresses_in_other_clothes() -> None:
    assert is_within("::ffff:192.0.2.1", ("192.0.2.0/24",)) and not is_within("unknown", ("0.0.0.0/0",))
    assert of_grpc("ipv4:192.0.2.1:5000") == "192.0.2.1" and of_grpc("ipv6:%5B::1%5D:50") == "::1"
    assert of_grpc("unix:/tmp/x") == "unknown"
    assert household("2001:db8::1:2:3:4") == household("2001:db8::") == "2001:db8::/64"
    assert household("::ffff:192.0.2.1") == "192.0.2.1"
    with pytest.raises(Forbidden, match="may not be used from 192.0.2.9"):
        check_address("192.0.2.9", ("192.0.2.0/29",))


@given(peer=FOUR, claimed=st.lists(FOUR | st.text(max_size=5), max_size=4))
def test_what_a_caller_claims_of_himself_counts_nothing(peer: str, claimed: list[str]) -> None:
    headers = [(b"x-forwarded-for", ", ".join(claimed).encode("latin-1", "replace"))]
    assert Origins().seen(peer, headers) == peer
    origins = Origins([PROXY])
    assume(ip_address(peer) not in PROXY)
    assert origins.seen(peer, headers) == peer
    behind = [*headers, (b"x-forwarded-for", f"{peer}, 10.1.1.1".encode())]
    assert origins.seen("10.0.0.7", behind) == peer, "what a proxy wrote is last"


@given(
    before=st.lists(FOUR | SIX | st.text(max_size=5), max_size=4),
    client=FOUR | SIX,
    proxies=st.lists(st.integers(1, 250).map("10.0.0.{}".format), max_size=4),
    lines=st.booleans(),
    port=st.none() | st.integers(0, 65535),
)
def test_the_last_that_is_no_trusted_proxy_counts(
    before: list[str], client: str, proxies: list[str], lines: bool, port: int | None
) -> None:
    """Whatever it claims, and however many proxies it came through; each writes who came to it, maybe on a line, and
    maybe from which port."""
    assume(ip_address(client) not in PROXY)
    came = [address if port is None else with_port(address, port) for address in (client, *proxies)]
    written = [text.encode("latin-1", "replace") for text in (*before, *came)]
    headers = [(b"x-forwarded-for", line) for line in (written if lines else [b", ".join(written)])]
    assert Origins([PROXY]).seen("10.0.0.7", headers) == client


def with_port(address: str, port: int) -> str:
    return f"[{address}]:{port}" if ":" in address else f"{address}:{port}"


@pytest.mark.parametrize("written", ["[2001:db8::1]", "[2001:db8::1]:443", "[2001:db8::1%eth0]:443", "2001:db8::1"])
def test_an_address_of_ipv6_is_read_with_brackets_and_without(written: str) -> None:
    assert Origins([PROXY]).seen("10.0.0.7", [(b"x-forwarded-for", written.encode())]) == "2001:db8::1"


@pytest.mark.parametrize(
    "nonsense",
    ["nonsense", "192.0.2.1:", "192.0.2.1:x", "192.0.2.1:123456", "[192.0.2.1", "[]:443", "[::1]443", ":443"],
)
def test_what_a_proxy_cannot_have_written_ends_the_way_back(nonsense: str) -> None:
    headers = [(b"x-forwarded-for", f"192.0.2.1, {nonsense}, 10.0.0.8".encode())]
    assert Origins([PROXY]).seen("10.0.0.7", headers) == "10.0.0.8"
    assert Origins([PROXY]).seen("10.0.0.7", []) == "10.0.0.7"


@pytest.mark.parametrize(
    "fields",
    [
        {"scopes": []},
        {"scopes": ["emperor"]},
        {"models": ["A"]},
        {"models": ["[a]"]},
        {"addresses": ["nowhere"]},
        {"addresses": ["192.0.2.1/24"]},
        {"rate": 0},
        {"rate": float("nan")},
        {"burst": 5},
        {"rate": 1, "burst": 0},
        {"daily_requests": 0},
    ],
)
def test_bounds_that_mean_nothing_are_refused(fields: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        CreateApiKey.model_validate({"name": "n", "roles": ["viewer"]} | fields)


def test_bounds_go_through_the_table_into_the_bucket() -> None:
    wanted = Bounds(scopes=(Permission.INFER,), models=("a*",), addresses=("192.0.2.1",), rate=2, daily_requests=9)
    assert bounds_of(Bounds()) == {}
    made = domain.draft("aim_x", project="p", name="n", roles=[Role.ADMIN], created_by="me", now=NOW)
    kept = ApiKey(**vars(made) | {"bounds": bounds_of(wanted)})
    assert Bounds.model_validate(kept.credential().model_dump(include=set(Bounds.model_fields))) == wanted
    assert kept.view().addresses == ("192.0.2.1/32",)
    assert Rules.of(kept.credential()) == Rules.of(wanted)


def test_a_rotated_key_is_the_same_key() -> None:
    key = domain.draft("aim_x", project="p", name="n", roles=[Role.ADMIN], created_by="me", now=NOW)
    rotated = keys.rotate(key, "aim_other", NOW, timedelta(hours=1))
    assert rotated.new.id == rotated.old.id == key.id and rotated.new.expires_at is None
    assert rotated.new.digest == key_digest("aim_other") and rotated.old.digest == key.digest
    assert rotated.old.expires_at == NOW + timedelta(hours=1) == rotated.counts_until
    short = ApiKey(**vars(key) | {"expires_at": NOW + timedelta(minutes=1)})
    assert keys.rotate(short, "aim_other", NOW, timedelta(hours=1)).counts_until == short.expires_at
    for dead in ({"revoked_at": NOW}, {"expires_at": NOW}):
        with pytest.raises(Conflict, match="make another one"):
            keys.rotate(ApiKey(**vars(key) | dead), "aim_other", NOW, timedelta())
