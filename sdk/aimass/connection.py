"""One kept-alive HTTP connection pool to a gateway; refusals become errors, streams go on where they were cut off."""

import json
import time
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

import httpx

from aimass.errors import ApiError, Unavailable, error_of, unreachable

API = "/api/v1"
OPENAI = "/v1"
SILENCE_SECONDS = 30.0
AGAIN_SECONDS = 0.5


class ServerEvent(NamedTuple):
    """One event of a stream."""

    name: str
    id: str
    data: dict[str, Any]


class Connection:
    """Sends requests with an API key or an access token; with neither where none is needed."""

    def __init__(self, url: str, key: str, timeout: float) -> None:
        self.authorization = f"Bearer {key}"
        headers = {"Authorization": self.authorization} if key else {}
        self._http = httpx.Client(base_url=url, headers=headers, timeout=timeout)

    def close(self) -> None:
        self._http.close()

    def send(self, method: str, path: str, **options: Any) -> httpx.Response:
        try:
            response = self._http.request(method, path, **options)
        except httpx.TransportError as error:
            raise unreachable(error) from error
        if response.is_error:
            raise error_of(response)
        return response

    def call(self, method: str, path: str, **options: Any) -> Any:
        """A request to the control API; options are those of httpx, parameters that are None are left out."""
        params = {name: value for name, value in options.pop("params", {}).items() if value is not None}
        return self.send(method, f"{API}/{path}", params=params, **options).json()

    def download(self, path: str, target: Path) -> Path:
        """Write a file of the control API to the target, whole or not at all."""
        part = target.with_name(f"{target.name}.part")
        try:
            with self._http.stream("GET", f"{API}/{path}") as response, part.open("wb") as file:
                if response.is_error:
                    raise _read_error(response)
                for chunk in response.iter_bytes():
                    file.write(chunk)
        except httpx.TransportError as error:
            raise unreachable(error) from error
        else:
            return part.replace(target)
        finally:
            part.unlink(missing_ok=True)

    def stream(self, path: str, params: Mapping[str, str]) -> Iterator[ServerEvent]:
        """Server-sent events until the caller stops; a stream that breaks off is opened again after its last event."""
        last = ""
        while True:
            with suppress(Unavailable, httpx.TransportError):
                for event in self._stream_once(path, params, last):
                    last = event.id or last
                    yield event
            time.sleep(AGAIN_SECONDS)

    def _stream_once(self, path: str, params: Mapping[str, str], last: str) -> Iterator[ServerEvent]:
        headers = {"Last-Event-ID": last} if last else {}
        timeout = httpx.Timeout(SILENCE_SECONDS)
        with self._http.stream("GET", f"{API}/{path}", params=params, headers=headers, timeout=timeout) as response:
            if response.is_error:
                raise _read_error(response)
            yield from _events(response.iter_lines())


def _read_error(response: httpx.Response) -> ApiError:
    response.read()
    return error_of(response)


def _events(lines: Iterator[str]) -> Iterator[ServerEvent]:
    fields: dict[str, str] = {}
    for line in lines:
        name, _, value = line.partition(":")
        if line and name:
            fields[name] = value.removeprefix(" ")
        elif not line and "data" in fields:
            yield ServerEvent(fields.get("event", "message"), fields.get("id", ""), json.loads(fields["data"]))
            fields = {}
