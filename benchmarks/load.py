"""wrk, a load generator of Debian: a fixed request for a bounded time, and what it measured."""

import json
import re
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

UNITS = {"us": 1e-3, "ms": 1.0, "s": 1e3, "m": 6e4}


@dataclass(frozen=True)
class Target:
    """What to send: one POST, again and again."""

    name: str
    url: str
    body: bytes
    headers: dict[str, str]


@dataclass(frozen=True)
class Measured:
    """Requests a second, and latency in milliseconds."""

    requests_per_second: float
    p50_ms: float
    p99_ms: float
    failed: int


def find_wrk() -> str:
    """The path of wrk, or an end with one clear line."""
    found = shutil.which("wrk")
    if found is None:
        sys.exit("bench needs wrk, the load generator: install Debian's package wrk (apt-get install wrk)")
    return found


def script(target: Target, body_file: Path) -> str:
    """wrk's Lua: headers stand in the file, so that no key is ever in argv."""
    headers = "\n".join(
        f"wrk.headers[{json.dumps(name)}] = {json.dumps(value)}" for name, value in target.headers.items()
    )
    read = f'local file = io.open({json.dumps(str(body_file))}, "rb")\nwrk.body = file:read("*a")'
    return f'wrk.method = "POST"\n{read}\n{headers}\n'


def run(target: Target, connections: int, seconds: int) -> Measured:
    """Load the target from this machine with this many kept-alive connections."""
    wrk = find_wrk()
    with tempfile.TemporaryDirectory() as folder:
        body_file, lua = Path(folder) / "body", Path(folder) / "request.lua"
        body_file.write_bytes(target.body)
        lua.touch(mode=0o600)
        lua.write_text(script(target, body_file))
        command = [
            wrk,
            "-t1",
            f"-c{connections}",
            f"-d{seconds}s",
            "--timeout",
            "10s",
            "--latency",
            "-s",
            str(lua),
            target.url,
        ]
        output = subprocess.run(command, capture_output=True, text=True, check=True, timeout=seconds + 30).stdout
    return parse(output)


def parse(output: str) -> Measured:
    failed = re.search(r"Non-2xx or 3xx responses: (\d+)", output)
    return Measured(
        requests_per_second=float(_found(r"Requests/sec:\s+([\d.]+)", output)),
        p50_ms=_milliseconds(_found(r"50%\s+([\d.]+\w+)", output)),
        p99_ms=_milliseconds(_found(r"99%\s+([\d.]+\w+)", output)),
        failed=int(failed.group(1)) if failed else 0,
    )


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
