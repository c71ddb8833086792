"""Rebuilds the projections of monitor from the log, while it runs: python -m services.monitor.replaying [--anew]."""

import argparse
import asyncio
import sys

from services.monitor.app import connections
from services.monitor.replaying.domain import LEFT_OUT
from services.monitor.replaying.engine import Replay
from services.monitor.settings import Settings
from shared.errors import AimassError
from shared.reading import StreamReader

INTERRUPTED = 130


async def replay(settings: Settings, anew: bool) -> None:
    """Raises AimassError."""
    bus, database = connections(settings)
    await bus.connect()
    try:
        for verdict in await Replay(database, StreamReader(bus, "EVT"), settings, _report).run(anew):
            print(verdict.told())
    finally:
        await bus.stop()
        await database.close()
    print("left as they are:", *(f"\n  {table}: {why}" for table, why in LEFT_OUT.items()), sep="")


def _report(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(prog="./justw replay", description=__doc__)
    parser.add_argument("--anew", action="store_true", help="begin anew where an earlier one was interrupted")
    anew = parser.parse_args().anew
    try:
        asyncio.run(replay(Settings(), anew))
    except AimassError as error:
        sys.exit(f"replay: {error.message}")
    except KeyboardInterrupt:
        print("interrupted: the projections are as they were; run it again and it goes on", file=sys.stderr)
        sys.exit(INTERRUPTED)


if __name__ == "__main__":
    main()
