"""The admin step before services start: roles, schemas and migrations, then streams and consumers. Idempotent.

A service applies nothing of this itself; it compares at start and refuses to run on drift.
"""

import asyncio
from collections.abc import Iterable, Mapping
from importlib import import_module
from pathlib import Path
from typing import Any
from urllib.parse import quote

import nats
import psycopg
from nats.js.errors import NotFoundError
from psycopg import sql
from psycopg.conninfo import conninfo_to_dict, make_conninfo
from yoyo import get_backend  # type: ignore[import-untyped]
from yoyo.migrations import Migration, MigrationList  # type: ignore[import-untyped]

from deploy import extension
from deploy.embedded.servers import BusUser
from shared.streams import SERVICES, STREAMS, Declaration, consumers, permissions

PATIENCE_SECONDS = 30.0
ROOT = Path(__file__).resolve().parents[1]
DATABASE = "aimass"
DATABASE_SERVICES = tuple(service for service in SERVICES if service != "gateway")
LOCK = 0x61696D617373
Connection = psycopg.Connection[tuple[object, ...]]


def provision_database(admin_dsn: str, passwords: Mapping[str, str], root: Path = ROOT) -> None:
    """Bring database, roles, schemas and tables up to date; `passwords` names the services to provide for."""
    with connect(admin_dsn) as admin:
        admin.execute("SELECT pg_advisory_lock(%s)", (LOCK,))
        create_database(admin)
        with connect(make_conninfo(admin_dsn, dbname=DATABASE)) as database:
            close_to_everyone(database)
            for service, password in passwords.items():
                create_role(database, service, password)
            add_extensions(database, passwords)
        for service, password in passwords.items():
            migrate(service, service_url(admin_dsn, service, password), root)


def connect(dsn: str) -> Connection:
    return psycopg.connect(dsn, autocommit=True)


def service_url(admin_dsn: str, service: str, password: str) -> str:
    """The address of the database for a service's role."""
    where = conninfo_to_dict(admin_dsn)
    return f"postgresql://{service}:{quote(password, safe='')}@{where['host']}:{where['port']}/{DATABASE}"


def create_database(admin: Connection) -> None:
    found = admin.execute("SELECT 1 FROM pg_database WHERE datname = %s", (DATABASE,)).fetchone()
    if found is None:
        admin.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(DATABASE)))


def close_to_everyone(database: Connection) -> None:
    """Take away what PostgreSQL gives to every role by default."""
    for name in (DATABASE, "postgres", "template1"):
        database.execute(sql.SQL("REVOKE ALL ON DATABASE {} FROM PUBLIC").format(sql.Identifier(name)))
    database.execute("REVOKE ALL ON SCHEMA public FROM PUBLIC")


def create_role(database: Connection, service: str, password: str) -> None:
    """A role that owns the schema of its own name and may do nothing elsewhere."""
    verifier = database.pgconn.encrypt_password(password.encode(), service.encode(), b"scram-sha-256").decode()
    role = sql.Identifier(service)
    if database.execute("SELECT 1 FROM pg_roles WHERE rolname = %s", (service,)).fetchone() is None:
        database.execute(sql.SQL("CREATE ROLE {} LOGIN").format(role))
    for statement in (
        sql.SQL("ALTER ROLE {role} PASSWORD {verifier}"),
        sql.SQL("GRANT CONNECT ON DATABASE {database} TO {role}"),
        sql.SQL("CREATE SCHEMA IF NOT EXISTS {role} AUTHORIZATION {role}"),
        sql.SQL("ALTER ROLE {role} SET search_path = {role}, extensions"),
    ):
        names = {"role": role, "verifier": sql.Literal(verifier), "database": sql.Identifier(DATABASE)}
        database.execute(statement.format(**names))


def add_extensions(database: Connection, services: Iterable[str]) -> None:
    """Vectors, in a schema that is every service's to use; only the admin may add them."""
    database.execute("CREATE SCHEMA IF NOT EXISTS extensions")
    database.execute("CREATE EXTENSION IF NOT EXISTS vector SCHEMA extensions")
    for service in services:
        database.execute(sql.SQL("GRANT USAGE ON SCHEMA extensions TO {}").format(sql.Identifier(service)))


def migrate(service: str, url: str, root: Path) -> None:
    """Apply, as the service's own role, what is new: first what all share, then its own."""
    with get_backend(url.replace("postgresql:", "postgresql+psycopg:", 1)) as backend:
        backend.break_lock()  # left by a killed predecessor: the advisory lock keeps living ones out
        for found in (migrations(root / "shared"), migrations(root / "services" / service)):
            for migration in backend.to_apply(found):
                with backend.transaction():
                    migration.process_steps(backend, "apply")
                    backend.mark_one(migration, log=False)


def migrations(owner: Path) -> MigrationList:
    """The owner's name is part of the id, so that numbers may repeat between owners."""
    paths = sorted((owner / "migrations").glob("*.sql"))
    return MigrationList([Migration(f"{owner.name}/{path.stem}", str(path), str(owner)) for path in paths])


def declarations() -> list[Declaration]:
    """What each service hears and says, from its handlers."""
    return [import_module(f"services.{name}.handlers").HANDLERS.declaration for name in SERVICES]


def bus_users(passwords: Mapping[str, str]) -> dict[str, BusUser]:
    """The bus user of each service with its allow-lists."""
    return {
        declaration.service: BusUser(passwords[declaration.service], allow_lists(declaration))
        for declaration in declarations()
    }


def allow_lists(declaration: Declaration) -> dict[str, Any]:
    """Permissions as NATS reads them: an empty allow-list would mean no limit there, so it becomes a denial."""
    granted = permissions(declaration)
    denied = {"deny": granted.deny_publish} if granted.deny_publish else {}
    return {
        "publish": {"allow": granted.publish} | denied if granted.publish else {"deny": [">"]},
        "subscribe": {"allow": granted.subscribe} if granted.subscribe else {"deny": [">"]},
        "allow_responses": {"max": 1, "expires": "60s"},
    }


def provision_bus(admin_url: str) -> None:
    """Create or change every stream and durable consumer as declared."""
    asyncio.run(_provision_bus_for_all(admin_url))


async def _provision_bus_for_all(admin_url: str) -> None:
    await provision_bus_over(admin_url, declarations())
    connection = await nats.connect(admin_url)
    await connection.jetstream(timeout=PATIENCE_SECONDS).add_consumer(extension.STREAM, extension.CONSUMER)
    await connection.close()


async def provision_bus_over(admin_url: str, declared: Iterable[Declaration]) -> None:
    connection = await nats.connect(admin_url)
    jetstream = connection.jetstream(timeout=PATIENCE_SECONDS)
    for stream in STREAMS:
        try:
            await jetstream.update_stream(stream)
        except NotFoundError:
            await jetstream.add_stream(stream)
    for declaration in declared:
        for name, config in consumers(declaration).items():
            await jetstream.add_consumer(name, config)
    await connection.close()
