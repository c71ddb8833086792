"""Whether a server answers, and what its log said last."""

import urllib.request
from pathlib import Path

import psycopg

DIRECTLY = urllib.request.build_opener(urllib.request.ProxyHandler({}))


def answers(url: str) -> bool:
    """Whether the URL answers 200."""
    try:
        with DIRECTLY.open(url, timeout=2) as response:
            return bool(response.status == 200)
    except OSError:
        return False


def accepts_connections(dsn: str) -> bool:
    """Whether PostgreSQL lets us in."""
    try:
        psycopg.connect(dsn, connect_timeout=2).close()
    except psycopg.OperationalError:
        return False
    return True


def tail(log: Path, lines: int = 15) -> str:
    """The last lines of a log, indented; nothing when there is none."""
    if not log.exists():
        return ""
    kept = log.read_text(errors="replace").splitlines()[-lines:]
    return "\n".join(f"    {line}" for line in kept)
