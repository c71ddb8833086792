"""The admin step before services start: roles, schemas and migrations, then streams and consumers. Idempotent.

A service applies nothing of this itself; it compares at start and refuses to run on drift.
"""

import asyncio
import ssl
from collections.abc import Iterable, Mapping
from importlib import import_module
from pathlib import Path
from typing import Any
from urllib.parse import quote

import psycopg
from psycopg import sql
from psycopg.conninfo import conninfo_to_dict, make_conninfo
from yoyo import get_backend  # type: ignore[import-untyped]
from yoyo.migrations import Migration, MigrationList  # type: ignore[import-untyped]

from deploy import bus, extension
from deploy.bus_plan import Action, Plan, Step
from deploy.embedded.servers import BusUser
from shared.streams import SERVICES, Declaration, permissions

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


def wanted_of_all() -> bus.Wanted:
    """Every durable consumer of the system: those of services, and that of software of others."""
    return [*bus.wanted_consumers(declarations()), (extension.STREAM, extension.CONSUMER)]


def plan_bus(admin_url: str) -> Plan:
    """What `provision_bus` would do."""
    return asyncio.run(bus.plan_bus(admin_url, wanted_of_all()))


def provision_bus(admin_url: str, tls: ssl.SSLContext | None = None) -> Plan:
    """Create or change every stream and durable consumer as declared; raises bus.Refused where that would lose some."""
    return asyncio.run(bus.provision_bus(admin_url, wanted_of_all(), tls=tls))


async def provision_bus_over(admin_url: str, declared: Iterable[Declaration]) -> Plan:
    """The same for the consumers of some services only."""
    return await bus.provision_bus(admin_url, bus.wanted_consumers(declared))


def plan_database(admin_dsn: str, services: Iterable[str], root: Path = ROOT) -> Plan:
    """What `provision_database` would do; the database is only looked at."""
    with connect(admin_dsn) as admin:
        is_there = admin.execute("SELECT 1 FROM pg_database WHERE datname = %s", (DATABASE,)).fetchone() is not None
    steps = [Step(Action.SAME if is_there else Action.MAKE, f"database {DATABASE}")]
    if not is_there:
        return Plan((*steps, *(_schema_step(service, set(), root) for service in services)))
    with connect(make_conninfo(admin_dsn, dbname=DATABASE)) as database:
        return Plan((*steps, *(_schema_step(each, applied(database, each), root) for each in services)))


def applied(database: Connection, service: str) -> set[str]:
    """The ids of the migrations that a service's schema has."""
    table = sql.Identifier(service, "_yoyo_migration")
    if database.execute("SELECT to_regclass(%s)", (table.as_string(database),)).fetchone() == (None,):
        return set()
    return {str(row[0]) for row in database.execute(sql.SQL("SELECT migration_id FROM {}").format(table))}


def _schema_step(service: str, found: set[str], root: Path) -> Step:
    """Schemas are made with their first migration and only go forward."""
    known = [each.id for folder in ("shared", f"services/{service}") for each in migrations(root / folder)]
    new = tuple(f"migration {name}" for name in known if name not in found)
    action = (Action.CHANGE if found else Action.MAKE) if new else Action.SAME
    return Step(action, f"schema {service}", new)
