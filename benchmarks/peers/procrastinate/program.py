"""Procrastinate: `writer COUNT RATE` commits changes, each with a job; `worker` commits a row for each job."""

import asyncio
import os
import sys
from uuid import uuid4

import procrastinate
from pace import changes, told
from psycopg_pool import AsyncConnectionPool

WORKERS = 4
app = procrastinate.App(connector=procrastinate.PsycopgConnector(conninfo=os.environ["BENCH_DSN"]))
pool = AsyncConnectionPool(os.environ["BENCH_DSN"], min_size=WORKERS + 1, open=False)


@app.task(name="changed")
async def changed(change: str) -> None:
    async with pool.connection() as connection:
        await connection.execute("INSERT INTO bench_effects (id) VALUES (%s)", (change,))


async def write(number: int) -> None:
    change = uuid4().hex
    async with pool.connection() as connection:
        await connection.execute("INSERT INTO bench_changes (id) VALUES (%s)", (change,))
        await changed.configure(connection=connection).defer_async(change=change)


async def main() -> None:
    async with app.open_async(), pool:
        if sys.argv[1] == "schema":
            await app.schema_manager.apply_schema_async()
        elif sys.argv[1] == "worker":
            await app.run_worker_async(concurrency=WORKERS)
        else:
            await told("ready")
            await changes(write, int(sys.argv[2]), float(sys.argv[3]))
            await told("done")


if __name__ == "__main__":
    asyncio.run(main())
