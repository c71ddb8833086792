"""A kept-alive pool of HTTP connections to a gateway: for callers who wait, and for callers who await.

The two differ in nothing but that.
"""

import asyncio
import os
import time
from collections.abc import AsyncGenerator, AsyncIterator, Generator, Iterator, Mapping
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any, BinaryIO, Self, TypeVar

import httpx

from aimass.calls import Exchange, Item, Items, Open, Pause, Read, Request, Steps
from aimass.errors import ApiError, error_of
from aimass.retrying import Policy, attempts
from aimass.sending import Progress, authorization_of, headers_of, options_of, translated
from aimass.signing import SessionAuth

PIECE = 1 << 18
T = TypeVar("T")


class Connection:
    """Carries out steps with an API key or an access token; with neither where none is needed."""

    def __init__(self, url: str, signed: str | SessionAuth, policy: Policy) -> None:
        headers, auth = ({}, signed) if isinstance(signed, SessionAuth) else (headers_of(signed), None)
        self._http = httpx.Client(base_url=url, headers=headers, auth=auth, timeout=policy.seconds)
        self._policy, self._signed = policy, signed

    @property
    def authorization(self) -> str:
        """The header's value now."""
        return self._signed.authorization if isinstance(self._signed, SessionAuth) else authorization_of(self._signed)

    def within(self, seconds: float) -> Self:
        """The same connections with another deadline, which the platform is told."""
        other = type(self).__new__(type(self))
        other._http, other._signed = self._http, self._signed
        other._policy = replace(self._policy, seconds=seconds, told=True)
        return other

    def close(self) -> None:
        self._http.close()

    def run(self, steps: Steps[T]) -> T:
        """Do all steps, and give what came of them."""
        flow, opened = Progress(iter(steps)), _Opened()
        try:
            while flow.step is not None:
                self._advance(flow, opened)
        finally:
            opened.close()
            flow.close()
        result: T = flow.result
        return result

    def each(self, items: Items[T]) -> Generator[T, None, None]:
        """Do the steps, and give one item after another."""
        flow, opened = Progress(items), _Opened()
        try:
            while flow.step is not None:
                if isinstance(flow.step, Item):
                    yield flow.step.value
                    flow.send(None)
                else:
                    self._advance(flow, opened)
        finally:
            opened.close()
            flow.close()

    def _advance(self, flow: Progress, opened: "_Opened") -> None:
        try:
            done = self._do(flow.step, opened)
        except ApiError as error:
            flow.throw(error)
        else:
            flow.send(done)

    def _do(self, step: Any, opened: "_Opened") -> Any:
        match step:
            case Request():
                return self.run(attempts(step, self._policy))
            case Exchange():
                return self._exchange(step)
            case Open():
                return self._open(step, opened)
            case Read():
                return opened.read()
            case Pause():
                return time.sleep(step.seconds)

    def _exchange(self, step: Exchange) -> httpx.Response:
        request = step.request
        with _content(request) as content, translated():
            options = options_of(request, content, step.headers)
            response = self._http.request(request.method, request.path, timeout=step.seconds, **options)
        if response.is_error:
            raise error_of(response)
        return response

    def _open(self, step: Open, opened: "_Opened") -> None:
        method, path = step.request.method, step.request.path
        timeout = step.seconds or self._policy.seconds
        request = self._http.build_request(method, path, timeout=timeout, **options_of(step.request))
        with translated():
            response = self._http.send(request, stream=True)
            opened.put(response, step.lines)
            if response.is_error:
                response.read()
                raise error_of(response)


class _Opened:
    """The one answer of a flow that is read piece by piece."""

    def __init__(self) -> None:
        self._response: httpx.Response | None = None
        self._pieces: Iterator[Any] = iter(())

    def put(self, response: httpx.Response, lines: bool) -> None:
        self.close()
        self._response = response
        self._pieces = response.iter_lines() if lines else response.iter_bytes()

    def read(self) -> Any:
        with translated():
            return next(self._pieces, None)

    def close(self) -> None:
        if self._response is not None:
            self._response.close()


class AsyncConnection:
    """The same; its methods are awaited."""

    def __init__(self, url: str, signed: str | SessionAuth, policy: Policy) -> None:
        headers, auth = ({}, signed) if isinstance(signed, SessionAuth) else (headers_of(signed), None)
        self._http = httpx.AsyncClient(base_url=url, headers=headers, auth=auth, timeout=policy.seconds)
        self._policy, self._signed = policy, signed

    @property
    def authorization(self) -> str:
        """The header's value now."""
        return self._signed.authorization if isinstance(self._signed, SessionAuth) else authorization_of(self._signed)

    def within(self, seconds: float) -> Self:
        """The same connections with another deadline, which the platform is told."""
        other = type(self).__new__(type(self))
        other._http, other._signed = self._http, self._signed
        other._policy = replace(self._policy, seconds=seconds, told=True)
        return other

    async def close(self) -> None:
        await self._http.aclose()

    async def run(self, steps: Steps[T]) -> T:
        """Do all steps, and give what came of them."""
        flow, opened = Progress(iter(steps)), _AsyncOpened()
        try:
            while flow.step is not None:
                await self._advance(flow, opened)
        finally:
            await opened.close()
            flow.close()
        result: T = flow.result
        return result

    async def each(self, items: Items[T]) -> AsyncGenerator[T, None]:
        """Do the steps, and give one item after another."""
        flow, opened = Progress(items), _AsyncOpened()
        try:
            while flow.step is not None:
                if isinstance(flow.step, Item):
                    yield flow.step.value
                    flow.send(None)
                else:
                    await self._advance(flow, opened)
        finally:
            await opened.close()
            flow.close()

    async def _advance(self, flow: Progress, opened: "_AsyncOpened") -> None:
        try:
            done = await self._do(flow.step, opened)
        except ApiError as error:
            flow.throw(error)
        else:
            flow.send(done)

    async def _do(self, step: Any, opened: "_AsyncOpened") -> Any:
        match step:
            case Request():
                return await self.run(attempts(step, self._policy))
            case Exchange():
                return await self._exchange(step)
            case Open():
                return await self._open(step, opened)
            case Read():
                return await opened.read()
            case Pause():
                return await asyncio.sleep(step.seconds)

    async def _exchange(self, step: Exchange) -> httpx.Response:
        request = step.request
        with _content(request) as content, translated():
            options = options_of(request, *_in_pieces(content, step.headers))
            response = await self._http.request(request.method, request.path, timeout=step.seconds, **options)
        if response.is_error:
            raise error_of(response)
        return response

    async def _open(self, step: Open, opened: "_AsyncOpened") -> None:
        method, path = step.request.method, step.request.path
        timeout = step.seconds or self._policy.seconds
        request = self._http.build_request(method, path, timeout=timeout, **options_of(step.request))
        with translated():
            response = await self._http.send(request, stream=True)
            await opened.put(response, step.lines)
            if response.is_error:
                await response.aread()
                raise error_of(response)


class _AsyncOpened:
    """The one answer of a flow that is read piece by piece."""

    def __init__(self) -> None:
        self._response: httpx.Response | None = None
        self._pieces: AsyncIterator[Any]

    async def put(self, response: httpx.Response, lines: bool) -> None:
        await self.close()
        self._response = response
        self._pieces = response.aiter_lines() if lines else response.aiter_bytes()

    async def read(self) -> Any:
        with translated():
            return await anext(self._pieces, None)

    async def close(self) -> None:
        if self._response is not None:
            await self._response.aclose()


def _content(request: Request) -> Any:
    return request.content.open("rb") if isinstance(request.content, Path) else nullcontext(request.content)


def _in_pieces(content: Any, headers: Mapping[str, str]) -> tuple[Any, Mapping[str, str]]:
    """A file as an asynchronous client sends it, its length told before; read where it holds up nobody else."""
    if content is None or isinstance(content, bytes):
        return content, headers
    length = os.fstat(content.fileno()).st_size
    return _pieces(content), {**headers, "Content-Length": str(length)}


async def _pieces(file: BinaryIO) -> AsyncGenerator[bytes, None]:
    while piece := await asyncio.to_thread(file.read, PIECE):
        yield piece
