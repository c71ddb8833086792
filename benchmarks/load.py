"""wrk, a load generator of Debian: fixed requests for a bounded time, and what it measured."""

import json
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import numpy as np
from numpy.typing import NDArray

UNITS = {"us": 1e-3, "ms": 1.0, "s": 1e3, "m": 6e4}
LOOPBACK = re.compile(r"http://127\.0\.0\.1:\d+")
Array = NDArray[Any]


class WrongAnswer(Exception):
    """A target did not answer what the model computes."""


class Refused(WrongAnswer):
    """A target answered with another status than 200."""


@dataclass(frozen=True)
class Target:
    """What to send, one POST again and again, to each of its paths in turn; `expected` is the right answer of each.

    `ask` sends one and reads its answer. `reply_bytes` is the size of a right answer, where that tells it from others.
    """

    name: str
    url: str
    paths: tuple[str, ...]
    body: bytes
    headers: dict[str, str]
    ask: Callable[["Target", str], Array]
    expected: tuple[Array, ...]
    reply_bytes: int = 0

    def __post_init__(self) -> None:
        if not LOOPBACK.fullmatch(self.url):
            raise ValueError(f"{self.url} is not on this machine's loopback")

    def check(self) -> None:
        """Ask each path once: a benchmark of errors or of wrong answers would look fast. Raises WrongAnswer."""
        for path, expected in zip(self.paths, self.expected, strict=True):
            check_close(self.name, self.ask(self, path), expected)


def over_http(read: Callable[[httpx.Response], Array]) -> Callable[[Target, str], Array]:
    """Ask by one POST; raises Refused."""

    def ask(target: Target, path: str) -> Array:
        reply = httpx.post(f"{target.url}{path}", content=target.body, headers=target.headers, timeout=30)
        if reply.status_code != 200:
            raise Refused(f"{target.name} answered {reply.status_code}: {reply.text[:200]}")
        return read(reply)

    return ask


def check_close(name: str, found: Array, expected: Array) -> None:
    """Equal up to what kernels for other batch sizes round otherwise; raises WrongAnswer."""
    if found.size != expected.size or not np.allclose(found.ravel(), expected.ravel(), rtol=1e-4, atol=1e-4):
        raise WrongAnswer(f"{name} answered {found.ravel()[:10].tolist()}, not {expected.ravel()[:10].tolist()}")


@dataclass(frozen=True)
class Measured:
    """Requests that were answered well, those that were not, and latency of all in milliseconds."""

    requests: int
    failed: int
    seconds: float
    p50_ms: float
    p99_ms: float

    @property
    def requests_per_second(self) -> float:
        return self.requests / self.seconds


Load = Callable[[Target, int, int], Measured]


def find_wrk() -> str:
    """The path of wrk, or an end with one clear line."""
    found = shutil.which("wrk")
    if found is None:
        sys.exit("bench needs wrk, the load generator: install Debian's package wrk (apt-get install wrk)")
    return found


def script(target: Target, body_file: Path) -> str:
    """wrk's Lua: headers stand in the file, so that no key is ever in argv; requests are made before the first."""
    headers = "".join(
        f"wrk.headers[{json.dumps(name)}] = {json.dumps(value)}\n" for name, value in target.headers.items()
    )
    read = f'local file = io.open({json.dumps(str(body_file))}, "rb")\nwrk.body = file:read("*a")'
    return f'wrk.method = "POST"\n{read}\n{headers}{in_turn(target.paths) if len(target.paths) > 1 else ""}'


def in_turn(paths: tuple[str, ...]) -> str:
    listed = ", ".join(json.dumps(path) for path in paths)
    return (
        f"local made, last = {{}}, 0\n"
        f"init = function() for i, path in ipairs({{{listed}}}) do made[i] = wrk.format(nil, path) end end\n"
        f"request = function() last = last % #made + 1; return made[last] end\n"
    )


def run(target: Target, connections: int, seconds: int) -> Measured:
    """Load the target from this machine with this many kept-alive connections."""
    wrk = find_wrk()
    with tempfile.TemporaryDirectory() as folder:
        body_file, lua = Path(folder) / "body", Path(folder) / "request.lua"
        body_file.write_bytes(target.body)
        lua.touch(mode=0o600)
        lua.write_text(script(target, body_file))
        command = [wrk, "-t1", f"-c{connections}", f"-d{seconds}s", "--timeout", "10s", "--latency", "-s", str(lua)]
        command.append(f"{target.url}{target.paths[0]}")
        output = subprocess.run(command, capture_output=True, text=True, check=True, timeout=seconds + 30).stdout
    return parse(output)


def parse(output: str) -> Measured:
    """What wrk printed; answers of another status, and requests that the socket lost, are failed ones."""
    answered, refused = int(_found(r"(\d+) requests in", output)), _count(r"Non-2xx or 3xx responses: (\d+)", output)
    lost = sum(_count(rf"Socket errors:.*{kind} (\d+)", output) for kind in ("connect", "read", "write", "timeout"))
    return Measured(
        requests=answered - refused,
        failed=refused + lost,
        seconds=_milliseconds(_found(r"requests in ([\d.]+\w+)", output)) / 1e3,
        p50_ms=_milliseconds(_found(r"50%\s+([\d.]+\w+)", output)),
        p99_ms=_milliseconds(_found(r"99%\s+([\d.]+\w+)", output)),
    )


def _count(pattern: str, text: str) -> int:
    match = re.search(pattern, text)
    return int(match.group(1)) if match else 0


def _found(pattern: str, text: str) -> str:
    match = re.search(pattern, text)
    if match is None:
        raise ValueError(f"wrk printed no {pattern}:\n{text}")
    return match.group(1)


def _milliseconds(text: str) -> float:
    match = re.fullmatch(r"([\d.]+)([a-z]+)", text)
    if match is None:
        raise ValueError(f"{text!r} is no duration")
    return float(match.group(1)) * UNITS[match.group(2)]
