"""PostgreSQL as one whole at one moment (pg_basebackup), and what its outboxes and inboxes need when it is put back."""

import subprocess
import tarfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from psycopg import sql
from psycopg.conninfo import conninfo_to_dict

from deploy import provision
from deploy.backup.errors import BackupFailed
from deploy.embedded.home import size
from deploy.embedded.launch import Launch, base_environment
from deploy.embedded.servers import ROOT, postgres_binary
from deploy.provision import DATABASE_SERVICES, Connection

FOLDER = "postgres"
MARGIN_SECONDS = 60  # a relay's transaction is ended by the database after 30 s in which it asks nothing
TOLD_EVERY_SECONDS = 10.0
MIB = 1024 * 1024

# Publish once more what was published since, of a bucket's key the last word only: an older one could bring back
# for a moment what was revoked.
PUBLISH_AGAIN = """
UPDATE outbox SET published_at = NULL WHERE published_at >= %(since)s AND NOT (subject LIKE '$KV.%%' AND EXISTS (
    SELECT FROM outbox AS later WHERE later.subject = outbox.subject AND later.position > outbox.position))
"""
# What is published anew is remembered from now on, as long as any other.
REMEMBER = "UPDATE inbox SET handled_at = now() WHERE handled_at >= %(since)s"
MIGRATIONS = "SELECT migration_id FROM _yoyo_migration ORDER BY migration_id"
AUDIT_HEAD = "SELECT position, digest FROM monitor.audit_head"

AUDITED = "SELECT 1 FROM monitor.audit WHERE position = %(position)s AND digest = %(digest)s"


def keep(dsn: str, folder: Path, launch_file: Path, say: Callable[[str], None]) -> None:
    """Copy the whole cluster and its log into two archives; the moment that they hold is the end of the copying.

    The launch file holds the password while the copying goes on, and binds it to this process.
    """
    where = conninfo_to_dict(dsn)
    argv = [postgres_binary("pg_basebackup"), "--pgdata", str(folder / FOLDER), "--format=tar", "--gzip"]
    argv += ["--compress=gzip:1", "--wal-method=stream", "--checkpoint=fast", "--manifest-checksums=NONE"]
    argv += ["--no-password"]
    argv += ["--host", str(where["host"]), "--port", str(where["port"]), "--username", str(where["user"])]
    environment = base_environment({"PGPASSWORD": str(where["password"]), "PGCONNECT_TIMEOUT": "10", "LC_ALL": "C"})
    command = Launch(argv, str(folder), environment).write(launch_file)
    running = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    try:
        while not _ended(running, TOLD_EVERY_SECONDS):
            say(f"database: {size(folder / FOLDER) / MIB:.0f} MiB so far")
    finally:
        launch_file.unlink()
        if running.poll() is None:
            running.terminate()
    errors = running.communicate()[1].decode(errors="replace")
    if running.returncode != 0:
        raise BackupFailed(f"the database could not be kept: {errors.strip()}")


def _ended(running: subprocess.Popen[bytes], seconds: float) -> bool:
    deadline = time.monotonic() + seconds
    while running.poll() is None and time.monotonic() < deadline:
        time.sleep(0.05)
    return running.poll() is not None


def put_back(folder: Path, data: Path) -> None:
    """Unpack a data folder; the server brings it to the moment of the backup when it starts."""
    data.mkdir(mode=0o700, parents=True)
    for name, target in {"base.tar.gz": data, "pg_wal.tar.gz": data / "pg_wal"}.items():
        with tarfile.open(folder / FOLDER / name) as archive:
            archive.extractall(target, filter="data")


def installed_version() -> int:
    """The major version of the PostgreSQL that is installed here."""
    told = subprocess.run([postgres_binary("postgres"), "--version"], capture_output=True, text=True, check=True).stdout
    return int(told.split()[-1].split(".")[0])


def server_version(dsn: str) -> int:
    with provision.connect(dsn) as connection:
        return connection.info.server_version // 10000


def now(dsn: str, seconds_ago: int = 0) -> str:
    with provision.connect(dsn) as connection:
        found = connection.execute("SELECT clock_timestamp() - make_interval(secs => %s)", (seconds_ago,)).fetchone()
    assert found is not None
    return found[0].isoformat()  # type: ignore[attr-defined,no-any-return]


def migrations(dsn: str) -> dict[str, list[str]]:
    """What was applied to each service's schema."""
    return {
        service: [str(row[0]) for row in connection.execute(MIGRATIONS).fetchall()]
        for service, connection in _schemas(dsn)
        if _has(connection, "_yoyo_migration")
    }


def unknown_migrations(applied: dict[str, list[str]], root: Path = ROOT) -> list[str]:
    """Those that this version does not bring: the backup is of a newer one."""
    shared = {one.id for one in provision.migrations(root / "shared")}
    known = {service: {one.id for one in provision.migrations(root / "services" / service)} for service in applied}
    return [f"{name}: {one}" for name, ids in applied.items() for one in ids if one not in shared | known[name]]


def audit_head(dsn: str) -> dict[str, Any]:
    """Number and digest of the last entry of the audit, 0 and none where there is no entry or no audit yet."""
    with provision.connect(dsn) as connection:
        found = connection.execute(AUDIT_HEAD).fetchone() if _has(connection, "monitor.audit_head") else None
    return dict(zip(("position", "digest"), found or (0, ""), strict=True))


def check_audit(dsn: str, head: dict[str, Any]) -> None:
    """Raises BackupFailed where the audit lacks the entry that was its last when the backup began."""
    with provision.connect(dsn) as connection:
        found = not head["position"] or connection.execute(AUDITED, head).fetchone()
    if not found:
        raise BackupFailed(f"the audit of the backup lacks its entry {head['position']} with digest {head['digest']}")


def replay(dsn: str, since: str) -> int:
    """Have the outboxes publish again from then on, and the inboxes remember it; how many messages that are."""
    total = 0
    for _, connection in _schemas(dsn):
        with connection.transaction():
            if not _has(connection, "outbox"):
                continue  # a service that came later than the backup
            connection.execute(REMEMBER, {"since": since})
            total += connection.execute(PUBLISH_AGAIN, {"since": since}).rowcount
    return total


def _has(connection: Connection, table: str) -> bool:
    found = connection.execute("SELECT to_regclass(%s) IS NOT NULL", (table,)).fetchone()
    return found == (True,)


def _schemas(dsn: str) -> Iterator[tuple[str, Connection]]:
    """The administrator's connection, looking at one service's schema after the other."""
    with provision.connect(dsn) as connection:
        for service in DATABASE_SERVICES:
            connection.execute(sql.SQL("SET search_path = {}").format(sql.Identifier(service)))
            yield service, connection
