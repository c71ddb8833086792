"""A client in a session refreshes by itself: once for each expiry, however many ask, in one program or in several."""

import asyncio
import threading
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import pytest
from aimass.cli import profiles
from aimass.errors import Unauthenticated
from aimass.signing import EARLY_SECONDS, SessionAuth, Tokens

URL = "http://gateway"


class Gateway:
    """Gives out tokens by number; a refresh token counts once."""

    def __init__(self) -> None:
        self.number, self.now, self.seen = 0, 0.0, Counter[str]()
        self._lock = threading.Lock()

    def session(self) -> Any:
        return {"access_token": f"access-{self.number}", "refresh_token": f"air_{self.number}", "expires_in": 900}

    def tokens(self) -> Tokens:
        return Tokens.of(self.session(), self.now)

    def answer(self, request: httpx.Request) -> httpx.Response:
        with self._lock:
            if request.url.path != "/api/v1/login/refresh":
                good = request.headers["Authorization"] == f"Bearer access-{self.number}"
                return httpx.Response(200 if good else 401, json={})
            assert "Authorization" not in request.headers
            token = httpx.Response(200, content=request.content).json()["refresh_token"]
            self.seen[token] += 1
            if token != f"air_{self.number}":
                return httpx.Response(401, json={"detail": "used before"})
            self.number += 1
            return httpx.Response(200, json=self.session())


@pytest.fixture
def gateway() -> Gateway:
    return Gateway()


@pytest.fixture
def auth(gateway: Gateway) -> Callable[..., SessionAuth]:
    return lambda store=None: SessionAuth(URL, gateway.tokens(), store, lambda: gateway.now)


def test_threads_at_once_refresh_once(gateway: Gateway, auth: Callable[..., SessionAuth]) -> None:
    with httpx.Client(base_url=URL, auth=auth(), transport=httpx.MockTransport(gateway.answer)) as http:
        for expiry in range(1, 4):
            assert http.get("/").status_code == 200 and gateway.number == expiry - 1
            gateway.now += 900 - EARLY_SECONDS
            with ThreadPoolExecutor(8) as pool:
                assert {each.status_code for each in pool.map(lambda _: http.get("/"), range(40))} == {200}
            assert gateway.number == expiry
    assert set(gateway.seen.values()) == {1}


async def test_tasks_at_once_refresh_once(gateway: Gateway, auth: Callable[..., SessionAuth]) -> None:
    async with httpx.AsyncClient(base_url=URL, auth=auth(), transport=httpx.MockTransport(gateway.answer)) as http:
        gateway.now += 900
        replies = await asyncio.gather(*(http.get("/") for _ in range(40)))
        assert {reply.status_code for reply in replies} == {200} and gateway.number == 1


def test_a_session_that_ended_is_told(gateway: Gateway, auth: Callable[..., SessionAuth]) -> None:
    signed = auth()
    gateway.number, gateway.now = 5, 900
    http = httpx.Client(base_url=URL, auth=signed, transport=httpx.MockTransport(gateway.answer))
    with http, pytest.raises(Unauthenticated, match="used before"):
        http.get("/")


def test_programs_with_one_profile_refresh_once(
    gateway: Gateway, auth: Callable[..., SessionAuth], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    profiles.keep("default", profiles.Profile(URL, "", "ada").with_tokens(gateway.tokens()))
    store = profiles.KeptTokens("default")
    programs = [
        httpx.Client(base_url=URL, auth=auth(store), transport=httpx.MockTransport(gateway.answer)) for _ in range(6)
    ]
    gateway.now += 900
    with ThreadPoolExecutor(6) as pool:
        assert {each.status_code for each in pool.map(lambda http: http.get("/"), programs)} == {200}
    assert gateway.number == 1 and set(gateway.seen.values()) == {1}
    kept = profiles.read()["default"]
    assert (kept.key, kept.refresh, kept.user) == ("access-1", "air_1", "ada")
    assert {path.stat().st_mode & 0o777 for path in profiles.file().parent.iterdir()} == {0o600}
    for program in programs:
        program.close()
