"""Seals all secrets of the running stack with a new key: python -m deploy.embedded.rotation.

Services go on meanwhile: each seals its secrets anew when it sees the new key, and the older keys stay until none needs
them.
"""

import argparse
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg

from deploy.embedded.parts import DEFAULT_HOME
from deploy.embedded.stack import Stack, StackError
from shared.sealing import add_key, drop_older_keys

SEALED = {"inference": ("webhooks.sealed",), "auth": ("second_factors.sealed", "identity_providers.sealed")}
SECONDS = 120.0


def main() -> None:
    arguments = argparse.ArgumentParser(prog="./justw rotate-secrets", description=__doc__)
    arguments.add_argument("--home", type=Path, default=DEFAULT_HOME, help="the state folder (default: .aimass)")
    stack = Stack(arguments.parse_args().home)
    try:
        stack.check_running()
        for line in rotate(stack):
            print(line, flush=True)
    except (StackError, TimeoutError) as error:
        sys.exit(str(error))


def rotate(stack: Stack, seconds: float = SECONDS) -> Iterator[str]:
    """What was done for each service.

    Raises TimeoutError where a service does not seal its secrets in time: its older keys stay then.
    """
    with psycopg.connect(stack.info["postgres"], autocommit=True) as connection:
        for service in SEALED:
            file = stack.home.path / "work" / service / "seal.keys"
            if not file.exists():
                yield f"{service}: has no secrets yet"
                continue
            current = add_key(file).current
            _wait(connection, service, current, seconds)
            drop_older_keys(file)
            count = _count(connection, service, "=", current)
            yield f"{service}: {count} secrets are sealed with a new key; the older ones are forgotten"


def _wait(connection: psycopg.Connection[Any], service: str, current: bytes, seconds: float) -> None:
    deadline = time.monotonic() + seconds
    while left := _count(connection, service, "<>", current):
        if time.monotonic() > deadline:
            raise TimeoutError(f"{service}: {left} secrets are not sealed anew yet: ./justw logs {service}")
        time.sleep(0.5)


def _count(connection: psycopg.Connection[Any], service: str, how: str, current: bytes) -> int:
    """How many secrets the current key has sealed, or others."""
    counted = 0
    for named in SEALED[service]:
        table, _, column = named.partition(".")
        asked = f"SELECT count(*) FROM {service}.{table} WHERE substring({column} FROM 2 FOR 8) {how} %s"
        row = connection.execute(asked, (current,)).fetchone()
        counted += row[0] if row else 0
    return counted


if __name__ == "__main__":
    main()
