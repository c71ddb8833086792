"""What the methods of a client say: requests and the steps around them, described once and done by either client."""

import uuid
from collections.abc import Callable, Generator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Generic, Protocol, TypeAlias, TypeVar

import httpx

from aimass.errors import ApiError

API = "/api/v1"
OPENAI = "/v1"
BINARY = {"Content-Type": "application/octet-stream"}

T = TypeVar("T")
T_co = TypeVar("T_co", covariant=True)


@dataclass(frozen=True)
class Request:
    """One request; parameters that are None are left out, a path as content is sent as the file that it names.

    What is `safe` may be sent twice: it changes nothing, or names itself by an idempotency key.
    """

    method: str
    path: str
    params: Mapping[str, Any] = field(default_factory=dict)
    headers: Mapping[str, str] = field(default_factory=dict)
    json: Any = None
    content: bytes | Path | None = None
    form: Mapping[str, Any] = field(default_factory=dict)
    files: Mapping[str, tuple[str, bytes]] = field(default_factory=dict)
    safe: bool = False

    def __iter__(self) -> Generator["Step", Any, httpx.Response]:
        answer: httpx.Response = yield self
        return answer


@dataclass(frozen=True)
class Exchange:
    """A request sent once, with so many seconds for each part of it."""

    request: Request
    seconds: float
    headers: Mapping[str, str] = field(default_factory=dict)

    def __iter__(self) -> Generator["Step", Any, httpx.Response]:
        answer: httpx.Response = yield self
        return answer


@dataclass(frozen=True)
class Open:
    """A request whose answer is read piece by piece; one at a time is open in a flow."""

    request: Request
    lines: bool
    seconds: float | None = None

    def __iter__(self) -> Generator["Step", Any, None]:
        yield self


@dataclass(frozen=True)
class Read:
    """The next piece of what is open: a line, or bytes; None after the last."""

    def __iter__(self) -> Generator["Step", Any, Any]:
        return (yield self)


@dataclass(frozen=True)
class Pause:
    """Wait so many seconds."""

    seconds: float

    def __iter__(self) -> Generator["Step", Any, None]:
        yield self


@dataclass(frozen=True)
class Item(Generic[T_co]):
    """One of many things that a caller iterates over."""

    value: T_co


Step: TypeAlias = Request | Exchange | Open | Read | Pause
Flow: TypeAlias = Generator[Step, Any, T]
Items: TypeAlias = Generator[Step | Item[T], Any, None]


class Steps(Protocol[T_co]):
    """A call or a flow: steps, and what comes of them."""

    def __iter__(self) -> Generator[Step, Any, T_co]: ...


@dataclass(frozen=True)
class Call(Generic[T_co]):
    """A request, and how its answer is read."""

    request: Request
    read: Callable[[httpx.Response], T_co]

    def __iter__(self) -> Generator[Step, Any, T_co]:
        return self.read((yield from self.request))


def call(
    method: str,
    path: str,
    params: Mapping[str, Any] | None = None,
    *,
    take: str | None = None,
    key: str | None = None,
    **options: Any,
) -> Call[Any]:
    """A request to the control API and its document, or one member of it; with a key, be it empty, it is sent with an
    idempotency key.
    """
    headers = dict(options.pop("headers", {}))
    if key is not None:
        headers["Idempotency-Key"] = key or str(uuid.uuid4())
    safe = options.pop("safe", method == "GET" or key is not None)
    request = Request(method, f"{API}/{path}", params or {}, headers, safe=safe, **options)
    return Call(request, lambda answer: _taken(answer, take))


def get(path: str, params: Mapping[str, Any] | None = None, *, take: str | None = None) -> Call[Any]:
    """What the control API shows."""
    return call("GET", path, params, take=take)


def bring(path: str, file: Path | None, params: Mapping[str, Any], key: str) -> Call[Any]:
    """A file sent to the control API, or the same without one."""
    return call("POST", path, params, key=key, content=file, headers=BINARY)


def nothing(method: str, path: str, **options: Any) -> Call[None]:
    """A request to the control API whose answer has no content."""
    return Call(Request(method, f"{API}/{path}", **options), lambda _: None)


def download(path: str, target: Path) -> Flow[Path]:
    """Write a file of the control API to the target, whole or not at all."""
    part = target.with_name(f"{target.name}.part")
    try:
        with part.open("wb") as file:
            yield from Open(Request("GET", f"{API}/{path}"), lines=False)
            while (chunk := (yield from Read())) is not None:
                file.write(chunk)
        return part.replace(target)
    finally:
        part.unlink(missing_ok=True)


def _taken(answer: httpx.Response, member: str | None) -> Any:
    try:
        document = answer.json()
    except ValueError:
        what = f"what answered at {answer.url} is no gateway: look whether the address is right"
        raise ApiError(answer.status_code, what) from None
    return document if member is None else document[member]
