"""Writes .env, which Docker Compose reads: random secrets, made once and kept, and what follows from them."""

import json
import os
import secrets
import tomllib
from collections.abc import Mapping
from pathlib import Path

from dotenv import dotenv_values

from deploy import extension
from deploy.embedded.launch import write_private
from deploy.embedded.servers import ADMIN, BUS_ADMIN, BusUser, nats_config
from deploy.provision import DATABASE, DATABASE_SERVICES, ROOT, bus_users
from shared.streams import SERVICES

FILE = ROOT / ".env"
POSTGRES, NATS = "postgres:5432", "nats:4222"
HEADING = "# Secrets of docker-compose.yml, written by ./justw secrets: for this machine's owner alone.\n"
RANDOM = (
    "POSTGRES_PASSWORD",
    "NATS_ADMIN_PASSWORD",
    "NATS_EXTENSION_PASSWORD",
    "AUTH_CALLOUT_SECRET",
    "INFERENCE_TRITON_ACCESS_HEADER_VALUE",
    *(f"{name.upper()}_NATS_PASSWORD" for name in SERVICES),
    *(f"{name.upper()}_DATABASE_PASSWORD" for name in DATABASE_SERVICES),
)


def environment(kept: Mapping[str, str | None]) -> dict[str, str]:
    """Everything that docker-compose.yml asks for; what is kept stays, the rest is made or derived."""
    made = {name: kept.get(name) or secrets.token_hex(24) for name in RANDOM}
    passwords = {name: made[f"{name.upper()}_DATABASE_PASSWORD"] for name in DATABASE_SERVICES}
    urls = {f"{name.upper()}_DATABASE_URL": database_url(name, passwords[name], DATABASE) for name in passwords}
    return {
        "AIMASS_VERSION": version(),
        **made,
        **urls,
        "ADMIN_DATABASE_URL": database_url(ADMIN, made["POSTGRES_PASSWORD"], "postgres"),
        "ADMIN_NATS_URL": f"nats://{BUS_ADMIN}:{made['NATS_ADMIN_PASSWORD']}@{NATS}",
        "ADMIN_PASSWORDS": json.dumps(passwords),
        "NATS_CONFIG": bus_config(made),
        "EXTENSION_CREDENTIALS": json.dumps(extension.credentials(f"nats://{NATS}", made["NATS_EXTENSION_PASSWORD"])),
    }


def version() -> str:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    return str(project["version"])


def database_url(role: str, password: str, database: str) -> str:
    return f"postgresql://{role}:{password}@{POSTGRES}/{database}"


def bus_config(made: Mapping[str, str]) -> str:
    """The configuration of the embedded bus, in one line, listening to the other containers."""
    users = {BUS_ADMIN: BusUser(made["NATS_ADMIN_PASSWORD"])}
    users[extension.EXTENSION] = extension.user(made["NATS_EXTENSION_PASSWORD"])
    users |= bus_users({name: made[f"{name.upper()}_NATS_PASSWORD"] for name in SERVICES})
    config = json.loads(nats_config(Path("/data"), 4222, 8222, users, made["AUTH_CALLOUT_SECRET"]))
    return json.dumps(config | {"server_name": "aimass", "listen": "0.0.0.0:4222"})


def lines(values: Mapping[str, str]) -> str:
    """In single quotes nothing is replaced; no value of ours has one."""
    return HEADING + "".join(f"{name}='{value}'\n" for name, value in values.items())


def write(path: Path = FILE) -> None:
    kept = dotenv_values(path, interpolate=False) if path.exists() else {}
    write_private(path, lines(environment(kept)))
    print(f"{os.path.relpath(path)} holds {len(RANDOM)} secrets; run this again after an upgrade")


if __name__ == "__main__":
    write()
