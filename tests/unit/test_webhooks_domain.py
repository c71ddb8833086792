"""What a webhook may be, what is posted to it, and when again."""

import base64
import hashlib
import hmac
import ipaddress
import json
from dataclasses import replace
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.inference.deferred.domain import State
from services.inference.webhooks.domain import (
    CARRIED_BYTES,
    PAUSE_SECONDS_MAX,
    carries,
    check_url,
    message,
    new_secret,
    pause,
    signed,
)
from shared.errors import InvalidInput
from shared.outbound import is_public
from tests.unit.test_deferred_domain import INFERENCE

ENDED = replace(INFERENCE, state=State.DONE, status=200, reply_version="3", reply_size=2, ended_at=datetime.now(UTC))
PUBLIC = ("93.184.215.14", "1.1.1.1", "2606:4700:4700::1111", "::ffff:8.8.8.8", "2002:808:808::1")
INSIDE = (
    "0.0.0.0",
    "127.0.0.1",
    "127.9.9.9",
    "10.1.2.3",
    "172.16.0.1",
    "192.168.1.1",
    "169.254.169.254",
    "100.64.0.1",
    "224.0.0.1",
    "240.0.0.1",
    "255.255.255.255",
    "::",
    "::1",
    "fe80::1",
    "fe80::1%eth0",
    "fc00::1",
    "ff02::1",
    "::ffff:127.0.0.1",
    "::ffff:10.0.0.1",
    "2002:7f00:1::",
    "2002:a00:1::",
    "64:ff9b::7f00:1",
    "64:ff9b:1::1",
    "2001:0:4136:e378:8000:63bf:3fff:fdd2",
)


@pytest.mark.parametrize("address", PUBLIC)
def test_addresses_of_the_internet(address: str) -> None:
    assert is_public(address)


@pytest.mark.parametrize("address", INSIDE)
def test_addresses_of_inside(address: str) -> None:
    assert not is_public(address)


@given(st.ip_addresses(v=4))
def test_an_address_within_another_is_judged_as_it_is(address: ipaddress.IPv4Address) -> None:
    assert is_public(f"::ffff:{address}") == is_public(str(address))
    assert not is_public(f"64:ff9b::{address}")
    if address.is_private or address.is_loopback or address.is_link_local or address.is_multicast:
        assert not is_public(str(address))


@pytest.mark.parametrize(
    "url", ["https://example.com", "https://a.b-c.example.com:8443/x/y?z=1&w=%20", "https://[2606:4700:4700::1111]/"]
)
def test_urls(url: str) -> None:
    assert check_url(url, inside=False) == url


WRONG = (
    "",
    "example.com",
    "//example.com",
    "ftp://example.com/",
    "http://example.com/",
    "https://",
    "https:///x",
    "https://user@example.com/",
    "https://user:word@example.com/",
    "https://example.com/#x",
    "https://example.com:0/",
    "https://example.com:65536/",
    "https://exa mple.com/",
    "https://example.com/\r\nx: y",
    "https://example.com\\@127.0.0.1/",
    "https://127.0.0.1/",
    "https://[::1]/",
    "https://169.254.169.254/latest/meta-data",
    "https://ünï.example/",
)


@pytest.mark.parametrize("url", WRONG)
def test_wrong_urls_name_the_field(url: str) -> None:
    with pytest.raises(InvalidInput) as refused:
        check_url(url, inside=False)
    assert refused.value.field == "url"


@pytest.mark.parametrize("url", ["http://127.0.0.1:8000/", "http://inside/x", "https://[::1]/"])
def test_urls_of_inside_where_that_is_allowed(url: str) -> None:
    assert check_url(url, inside=True) == url


@given(st.text())
def test_no_text_breaks_the_check(text: str) -> None:
    try:
        assert check_url(text, inside=False).startswith("https://")
    except InvalidInput as refused:
        assert refused.field == "url"


def test_the_example_of_the_specification() -> None:
    """Its secret, its message, and the signature that its libraries compute for them."""
    secret, body = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", b'{"test": 2432232314}'
    headers = signed(secret, "msg_p5jXN8AQM9LWM0D4loKWxJek", 1614265330, body)
    assert headers["webhook-signature"] == "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="
    assert (headers["webhook-id"], headers["webhook-timestamp"]) == ("msg_p5jXN8AQM9LWM0D4loKWxJek", "1614265330")


@given(st.binary(), st.integers(0, 2**33))
def test_a_receiver_can_tell_what_is_ours(body: bytes, timestamp: int) -> None:
    secret = new_secret()
    headers = signed(secret, "id", timestamp, body)
    key = base64.b64decode(secret.removeprefix("whsec_"), validate=True)
    expected = hmac.digest(key, b"id." + str(timestamp).encode() + b"." + body, hashlib.sha256)
    assert headers["webhook-signature"] == "v1," + base64.b64encode(expected).decode()
    assert signed(secret, "id", timestamp + 1, body) != headers
    assert len(key) == 32 and new_secret() != secret


def test_an_answer_is_carried_as_it_is() -> None:
    told = json.loads(message(ENDED, b'{"outputs":[{"data":[0.1]}]}'))
    assert (told["type"], told["data"]["answer"]) == ("inference.completed", {"outputs": [{"data": [0.1]}]})
    assert told["data"]["result"] == f"/api/v1/inferences/{ENDED.id}/result"
    assert datetime.fromisoformat(told["timestamp"]) == ENDED.ended_at
    binary = json.loads(message(replace(ENDED, reply_header_length=1), b"\x00\xff"))["data"]
    assert (base64.b64decode(binary["answer_base64"]), binary["header_length"]) == (b"\x00\xff", 1)
    failed = json.loads(message(replace(ENDED, state=State.FAILED, status=400, reply_version=""), None))
    assert (failed["type"], failed["data"]["status"], "answer" in failed["data"]) == ("inference.failed", 400, False)


def test_large_answers_are_not_carried() -> None:
    assert carries(replace(ENDED, reply_size=CARRIED_BYTES))
    assert not carries(replace(ENDED, reply_size=CARRIED_BYTES + 1))


@given(st.integers(1, 1000), st.floats(0.01, 60), st.floats(0, 1))
def test_pauses_grow_and_are_bounded(attempts: int, first: float, chance: float) -> None:
    assert 0 < pause(attempts, first, chance) <= PAUSE_SECONDS_MAX
    assert pause(attempts, first, 1) <= pause(attempts + 1, first, 1)
    assert pause(1, first, 1) == pytest.approx(first)
