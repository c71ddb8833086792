"""The clients: one that waits and one that is awaited, of the same methods over the platform's HTTP API."""

import time
from collections.abc import AsyncGenerator, Generator
from types import TracebackType
from typing import Self, TypeVar

from aimass import types as t
from aimass.asking import Asking
from aimass.calls import Items, Steps, call
from aimass.connection import AsyncConnection, Connection
from aimass.extensions import Extensions
from aimass.granting import Granting
from aimass.identity import Identity
from aimass.insight import Insight
from aimass.later import Later
from aimass.methods import Awaiting, Waiting
from aimass.models import Models
from aimass.operating import Operating
from aimass.people import People
from aimass.pipelines import Pipelines
from aimass.projects import Projects
from aimass.providers import Providers
from aimass.retrying import Policy
from aimass.scheduling import Scheduling
from aimass.searching import Searching
from aimass.signing import SessionAuth, Tokens
from aimass.tasks import Tasks
from aimass.tuning import Studies
from aimass.usage import Usage

T = TypeVar("T")


class Methods(
    Tasks,
    Models,
    Insight,
    People,
    Identity,
    Providers,
    Granting,
    Asking,
    Later,
    Searching,
    Scheduling,
    Studies,
    Pipelines,
    Operating,
    Extensions,
    Projects,
    Usage,
):
    """All that a client can do."""


class Client(Waiting, Methods):
    """Talks to one gateway with one API key, or with an access token or a session in its place.

    `timeout` is the deadline of a call in seconds, with the
    `retries` of what failed for a passing reason and may be sent again. Every method raises an ApiError when the
    platform refuses, and Unavailable or DeadlineExceeded when it does not answer.
    """

    def __init__(self, url: str, key: str | SessionAuth, *, timeout: float = 30.0, retries: int = 2) -> None:
        self._connection = Connection(url, key, Policy(timeout, retries))

    @property
    def authorization(self) -> str:
        """The header's value as it is now, for other clients."""
        return self._connection.authorization

    @classmethod
    def login(
        cls,
        url: str,
        name: str,
        password: str,
        code: str = "",
        *,
        project: str | None = None,
        timeout: float = 30.0,
    ) -> Self:
        """A client in the name of a user, with a code where the user has a second factor; it goes on by itself.

        Raises Unauthenticated for a wrong name, password or code, SecondFactorNeeded where a code is missing, and
        TooManyAttempts after many of them.
        """
        with cls(url, "", timeout=timeout, retries=0) as anonymous:
            session = anonymous.run(log_in(name, password, code, project))
        return cls(url, SessionAuth(url, Tokens.of(session, time.time())), timeout=timeout)

    def within(self, seconds: float) -> Self:
        """The same client, on the same connections, with another deadline; predictions that miss it are given up."""
        other = type(self).__new__(type(self))
        other._connection = self._connection.within(seconds)
        return other

    def run(self, steps: Steps[T]) -> T:
        return self._connection.run(steps)

    def each(self, items: Items[T]) -> Generator[T, None, None]:
        return self._connection.each(items)

    def close(self) -> None:
        self._connection.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


class AsyncClient(Awaiting, Methods):
    """The same client for programs that await: each method is awaited, each stream is gone through by `async for`."""

    def __init__(self, url: str, key: str | SessionAuth, *, timeout: float = 30.0, retries: int = 2) -> None:
        self._connection = AsyncConnection(url, key, Policy(timeout, retries))

    @property
    def authorization(self) -> str:
        """The header's value as it is now, for other clients."""
        return self._connection.authorization

    @classmethod
    async def login(
        cls,
        url: str,
        name: str,
        password: str,
        code: str = "",
        *,
        project: str | None = None,
        timeout: float = 30.0,
    ) -> Self:
        """A client in the name of a user, with a code where the user has a second factor; it goes on by itself.

        Raises Unauthenticated for a wrong name, password or code, SecondFactorNeeded where a code is missing, and
        TooManyAttempts after many of them.
        """
        async with cls(url, "", timeout=timeout, retries=0) as anonymous:
            session = await anonymous.run(log_in(name, password, code, project))
        return cls(url, SessionAuth(url, Tokens.of(session, time.time())), timeout=timeout)

    def within(self, seconds: float) -> Self:
        """The same client, on the same connections, with another deadline; predictions that miss it are given up."""
        other = type(self).__new__(type(self))
        other._connection = self._connection.within(seconds)
        return other

    async def run(self, steps: Steps[T]) -> T:
        return await self._connection.run(steps)

    def each(self, items: Items[T]) -> AsyncGenerator[T, None]:
        return self._connection.each(items)

    async def close(self) -> None:
        await self._connection.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()


def log_in(name: str, password: str, code: str = "", project: str | None = None) -> Steps[t.Session]:
    """Begin a session, in the user's own project where none is named."""
    return call("POST", "login", json={"name": name, "password": password, "code": code, "project": project})


def accept_invitation(token: str, password: str) -> Steps[t.User]:
    """Become the user that was invited, with a password of one's own."""
    return call("POST", "invitations/accept", json={"token": token, "new_password": password})
