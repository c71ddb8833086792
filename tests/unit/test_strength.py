"""No service starts with a secret that somebody on the network could guess."""

import re
import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from services.auth.settings import Settings as AuthSettings
from services.inference.settings import Settings as InferenceSettings
from shared.settings import ServiceSettings
from shared.strength import Guarded, is_local, is_strong, weakness

STRONG = "6f1d0c9be2a84775"
DATABASE = "postgresql://auth:{}@database.internal/aimass"


@given(st.text(max_size=15))
def test_short_ones_are_weak(secret: str) -> None:
    assert not is_strong(secret)
    assert "at least 16" in weakness(Guarded("A_PASSWORD", "nats://bus:4222", secret))
    assert weakness(Guarded("A_PASSWORD", "nats://127.0.0.1:4222", secret)) == ""


@pytest.mark.parametrize("secret", ["a" * 40, "ababababababababababab", "1111222233334444"])
def test_long_ones_of_few_characters_are_weak(secret: str) -> None:
    assert not is_strong(secret)


@pytest.mark.parametrize("url", ["nats://localhost:4222", "http://[::1]:80", "127.0.0.9:1", "postgresql:///aimass"])
def test_what_only_this_machine_reaches(url: str) -> None:
    assert is_local(url)


@pytest.mark.parametrize("url", ["nats://nats:4222", "http://10.0.0.1", "triton:8001", "postgresql://u:p@0.0.0.0/a"])
def test_what_others_reach(url: str) -> None:
    assert not is_local(url)


@pytest.mark.parametrize("password", ["", "nats", "password12345"])
def test_settings_with_a_weak_password_of_the_bus_are_refused(password: str) -> None:
    with pytest.raises(ValidationError, match="NATS_PASSWORD"):
        ServiceSettings(nats_url="nats://bus:4222", nats_password=password)
    ServiceSettings(nats_url="nats://bus:4222", nats_password=STRONG)
    ServiceSettings(nats_url="nats://127.0.0.1:4222", nats_password=password)


@pytest.mark.parametrize("password", ["", "aimass"])
def test_settings_with_a_weak_password_of_the_database_are_refused(password: str) -> None:
    with pytest.raises(ValidationError, match="DATABASE_URL") as refused:
        ServiceSettings(database_url=DATABASE.format(password))
    assert not password or DATABASE.format(password) not in str(refused.value)
    ServiceSettings(database_url=DATABASE.format(STRONG))


def test_settings_with_a_weak_key_of_triton_or_of_the_callout_are_refused() -> None:
    with pytest.raises(ValidationError, match="INFERENCE_TRITON_ACCESS_HEADER_VALUE"):
        InferenceSettings(triton_url="http://triton:8000")
    with pytest.raises(ValidationError, match="AUTH_CALLOUT_SECRET"):
        AuthSettings(admin_key_file="/tmp/key", callout_secret="short")
    AuthSettings(admin_key_file="/tmp/key", callout_secret=STRONG)


@pytest.mark.parametrize("service", ["auth", "registry", "trainer", "inference", "evaluator", "monitor", "gateway"])
def test_no_service_starts_with_one(service: str) -> None:
    """One line that names the setting, status 1."""
    given = {
        f"{service.upper()}_NATS_URL": "nats://bus.internal:4222",
        "GATEWAY_PORT": "1",
        "AUTH_ADMIN_KEY_FILE": "/k",
    }
    ended = subprocess.run(
        [sys.executable, "-m", f"services.{service}"],
        env=given,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert ended.returncode == 1
    assert re.fullmatch(rf"{service.upper()}_NATS_PASSWORD is missing: .*\n", ended.stderr), ended.stderr
