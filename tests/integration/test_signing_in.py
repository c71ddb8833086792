"""The client and the command line in a session, against the gateway and auth on real servers."""

import asyncio
import json
import os
import subprocess
import sys
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aimass
import httpx
import pyotp
import pytest
import pytest_asyncio
from aimass.client import accept_invitation
from aimass.signing import SessionAuth, Tokens

from deploy.embedded.testing_servers import PostgresServer
from tests.conftest import fresh_database
from tests.integration.gateway_neighbours import bearer
from tests.integration.whole_gateway import Whole, whole_gateway

pytestmark = pytest.mark.asyncio(loop_scope="module")
NEW = "correct horse battery staple"
ROOT = Path(__file__).resolve().parents[2]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def whole(
    postgres: PostgresServer, passwords: dict[str, str], tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Whole]:
    with fresh_database(postgres, passwords) as urls:
        async with whole_gateway(urls, tmp_path_factory.mktemp("whole")) as started:
            yield started


def url_of(whole: Whole) -> str:
    return str(whole.http.base_url).rstrip("/")


def admin(whole: Whole) -> aimass.Client:
    return aimass.Client(url_of(whole), whole.http.headers["authorization"].removeprefix("Bearer "))


def invited(whole: Whole, name: str) -> None:
    with admin(whole) as client:
        token = client.invite(name, ["viewer"])["token"]
    with aimass.Client(url_of(whole), "") as anonymous:
        anonymous.run(accept_invitation(token, NEW))


async def test_a_client_goes_on_by_itself(whole: Whole) -> None:
    """Its clock is set on, past the end of each token; what it sends is signed by the newest one."""

    def work() -> None:
        invited(whole, "ada")
        now = 0.0
        with aimass.Client(url_of(whole), "") as anonymous:
            session: Any = anonymous.run(aimass.client.log_in("ada", NEW))
        signed = SessionAuth(url_of(whole), Tokens.of(session, now), clock=lambda: now)
        with aimass.Client(url_of(whole), signed) as client:
            seen = set()
            for _ in range(3):
                now += 900
                seen.add(client.within(20).me()["id"] + client.authorization)
            assert len(seen) == 3
            assert [each["id"] for each in client.sessions()] == [session["session_id"]]
            client.log_out()
            with pytest.raises(aimass.Unauthenticated, match="ended"):
                while True:  # until the gateway has heard of it
                    client.me()
            now += 900
            with pytest.raises(aimass.Unauthenticated, match="log in again"):
                client.me()

    await asyncio.to_thread(work)


async def test_the_awaited_client_logs_in_with_a_code(whole: Whole) -> None:
    await asyncio.to_thread(invited, whole, "bob")
    async with await aimass.AsyncClient.login(url_of(whole), "bob", NEW) as client:
        begun = await client.begin_totp()
        totp = pyotp.TOTP(begun["secret"])
        recovery = await client.confirm_totp(totp.now())
        assert len(recovery) == 10 and (await client.totp())["enabled"]
        with pytest.raises(aimass.SecondFactorNeeded):
            await aimass.AsyncClient.login(url_of(whole), "bob", NEW)
        async with await aimass.AsyncClient.login(url_of(whole), "bob", NEW, recovery[0]) as again:
            await again.remove_totp(recovery[1])
        await client.end_session((await client.sessions())[-1]["id"])


async def test_service_accounts_with_the_client(whole: Whole) -> None:
    def work() -> None:
        with admin(whole) as client:
            made = client.create_service_account("nightly", ["viewer"])
            rotated = client.rotate_service_account(made["id"], overlap_seconds=0)
            form = {"grant_type": "client_credentials"}
            for secret, status in ((made["client_secret"], 401), (rotated["client_secret"], 200)):
                answer = httpx.post(f"{url_of(whole)}/api/v1/token", data=form, auth=(made["id"], secret))
                assert answer.status_code == status
            assert [each["name"] for each in client.service_accounts()] == ["nightly"]
            client.delete_service_account(made["id"])
            assert client.service_accounts() == []

    await asyncio.to_thread(work)


async def test_the_command_line_keeps_a_session(whole: Whole, tmp_path: Path) -> None:
    def run(*arguments: str, typed: str = "") -> subprocess.CompletedProcess[str]:
        environment = {"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT / "sdk"), "XDG_CONFIG_HOME": str(tmp_path)}
        command = [sys.executable, "-m", "aimass", *arguments]
        return subprocess.run(command, input=typed, capture_output=True, text=True, env=environment, timeout=120)

    def work() -> None:
        invited(whole, "cleo")
        began = run("login", url_of(whole), "--user", "cleo", typed=f"{NEW}\n")
        assert began.returncode == 0, began.stderr
        file = tmp_path / "aimass" / "profiles.json"
        kept = json.loads(file.read_text())["default"]
        assert kept["refresh"].startswith("air_") and file.stat().st_mode & 0o777 == 0o600
        assert kept["refresh"] not in began.stdout + began.stderr
        file.write_text(json.dumps({"default": kept | {"expires_at": "2020-01-01T00:00:00+00:00"}}))
        listed = run("sessions", "list", "--json")
        assert listed.returncode == 0 and len(json.loads(listed.stdout)) == 1, listed.stderr
        renewed = json.loads(file.read_text())["default"]
        assert renewed["refresh"] != kept["refresh"] and file.stat().st_mode & 0o777 == 0o600
        assert run("logout").returncode == 0
        while httpx.get(f"{url_of(whole)}/api/v1/me", headers=bearer(renewed["key"])).status_code != 401:
            time.sleep(0.05)
        assert run("whoami").returncode == 4

    await asyncio.to_thread(work)
