"""How requests of a user are signed: with an access token, which is traded for the next one before it ends, once."""

import asyncio
import threading
import time
from collections.abc import AsyncGenerator, Callable, Generator
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from typing import Protocol

import httpx

from aimass import types as t
from aimass.errors import ApiError, error_of

EARLY_SECONDS = 30.0
REFRESH = "/api/v1/login/refresh"


@dataclass(frozen=True)
class Tokens:
    """The tokens of a session, and when the first of them ends (Unix)."""

    access: str = field(repr=False)
    refresh: str = field(repr=False)
    ends_at: float

    @classmethod
    def of(cls, session: t.Session, now: float) -> "Tokens":
        return cls(session["access_token"], session["refresh_token"], now + session["expires_in"])


class Store(Protocol):
    """Where several programs keep the tokens of one session; a refresh token counts once for all of them."""

    def locked(self) -> AbstractContextManager[None]: ...

    def read(self) -> Tokens | None: ...

    def write(self, tokens: Tokens) -> None: ...


class Memory:
    """A program's own."""

    def locked(self) -> AbstractContextManager[None]:
        return nullcontext()

    def read(self) -> Tokens | None:
        return None

    def write(self, tokens: Tokens) -> None:
        """Nobody else needs them."""


class SessionAuth(httpx.Auth):
    """Signs requests; however many wait at once, one refreshes."""

    def __init__(
        self, url: str, tokens: Tokens, store: Store | None = None, clock: Callable[[], float] = time.time
    ) -> None:
        self._url, self._tokens, self._store, self._clock = url.rstrip("/") + REFRESH, tokens, store or Memory(), clock
        self._lock, self._turn = threading.Lock(), asyncio.Lock()

    @property
    def authorization(self) -> str:
        return f"Bearer {self._tokens.access}"

    def sync_auth_flow(self, request: httpx.Request) -> Generator[httpx.Request, httpx.Response, None]:
        if self._is_old():
            with self._lock, self._store.locked():
                self._look()
                if self._is_old():
                    response = yield self._asked(request)
                    response.read()
                    self._take(response)
        request.headers["Authorization"] = self.authorization
        yield request

    async def async_auth_flow(self, request: httpx.Request) -> AsyncGenerator[httpx.Request, httpx.Response]:
        if self._is_old():
            async with self._turn:
                with self._store.locked():
                    self._look()
                    if self._is_old():
                        response = yield self._asked(request)
                        await response.aread()
                        self._take(response)
        request.headers["Authorization"] = self.authorization
        yield request

    def _is_old(self) -> bool:
        return self._clock() >= self._tokens.ends_at - EARLY_SECONDS

    def _look(self) -> None:
        """Another program may have refreshed."""
        self._tokens = self._store.read() or self._tokens

    def _asked(self, request: httpx.Request) -> httpx.Request:
        asked = httpx.Request("POST", self._url, json={"refresh_token": self._tokens.refresh})
        asked.extensions = {"timeout": request.extensions["timeout"]} if "timeout" in request.extensions else {}
        return asked

    def _take(self, response: httpx.Response) -> None:
        if response.is_error:
            raise error_of(response)
        try:
            self._tokens = Tokens.of(response.json(), self._clock())
        except (ValueError, KeyError, TypeError):
            raise ApiError(response.status_code, "what answered to the refresh is no gateway") from None
        self._store.write(self._tokens)
