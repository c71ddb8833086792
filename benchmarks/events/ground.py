"""Servers of the benchmark's own, as the stack starts them, and the tables by which changes and effects are timed.

PostgreSQL keeps the time of each commit: what is measured is between the commits themselves, by one clock.
"""

import asyncio
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import psycopg
from psycopg.conninfo import make_conninfo

from benchmarks.events import hearer
from deploy import provision
from deploy.embedded.launch import Launch
from deploy.embedded.servers import BusUser
from deploy.embedded.testing_servers import NatsServer, PostgresServer, nats_server, started
from shared.streams import SERVICES

PEER_DATABASE = "peer"
TABLES = """
CREATE TABLE trainer.bench_changes (id text PRIMARY KEY);
ALTER TABLE trainer.bench_changes OWNER TO trainer;
CREATE TABLE evaluator.bench_effects (id text NOT NULL);
ALTER TABLE evaluator.bench_effects OWNER TO evaluator;
"""
PEER_TABLES = "CREATE TABLE bench_changes (id text PRIMARY KEY); CREATE TABLE bench_effects (id text NOT NULL)"


class TimingPostgres(PostgresServer):
    """PostgreSQL that knows when each transaction committed."""

    def launch(self) -> Launch:
        launch = super().launch()
        return replace(launch, argv=[*launch.argv, "-c", "track_commit_timestamp=on"])


@dataclass(frozen=True)
class Ground:
    """Where everything is; `passwords` are those of the services' roles."""

    nats: NatsServer
    postgres: TimingPostgres
    passwords: dict[str, str]

    def service(self, name: str) -> dict[str, str]:
        """The settings of a service, as the stack gives them."""
        prefix = f"{name.upper()}_"
        url = provision.service_url(self.postgres.dsn, name, self.passwords[name])
        given = {"NATS_URL": self.nats.servers, "NATS_PASSWORD": "password", "DATABASE_URL": url}
        return {prefix + key: value for key, value in given.items()} | {f"{prefix}LOG_LEVEL": "WARNING"}

    def peer(self) -> dict[str, str]:
        """Where a peer finds the bus and a database of its own."""
        return {"BENCH_NATS": self.nats.url, "BENCH_DSN": self.dsn(PEER_DATABASE)}

    def dsn(self, database: str = provision.DATABASE) -> str:
        """The administrator's."""
        return make_conninfo(self.postgres.dsn, dbname=database)

    def pids(self) -> dict[str, int]:
        return {"NATS": self.nats.pid, "PostgreSQL": self.postgres.pid}


@contextmanager
def ground(folder: Path) -> Iterator[Ground]:
    """Servers that last as long as the block, provisioned for the services that the benchmark starts."""
    postgres = TimingPostgres(folder / "postgres")
    users = {service: BusUser("password") for service in SERVICES}
    with started(postgres), nats_server(folder / "nats", users) as nats:
        passwords = {service: secrets.token_hex(8) for service in provision.DATABASE_SERVICES}
        provision.provision_database(postgres.dsn, passwords)
        asyncio.run(provision.provision_bus_over(nats.url, [hearer.HANDLERS.declaration]))
        made = Ground(nats, postgres, passwords)
        with psycopg.connect(made.dsn(), autocommit=True) as admin:
            admin.execute(TABLES)
            admin.execute(f"CREATE DATABASE {PEER_DATABASE}")
        with psycopg.connect(made.dsn(PEER_DATABASE), autocommit=True) as admin:
            admin.execute(PEER_TABLES)
        yield made
