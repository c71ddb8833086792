"""The content of docker-compose.yml: servers, the admin step, and every service of the list, with its secrets."""

import json
from collections.abc import Iterator
from typing import Any

import yaml

from deploy.embedded.servers import ACCESS_HEADER, ADMIN, RESTRICTED
from deploy.provision import DATABASE_SERVICES
from shared.streams import SERVICES

NATS_IMAGE = "nats:2.15.1-alpine"
POSTGRES_IMAGE = "pgvector/pgvector:pg18"
TRITON_IMAGE = "nvcr.io/nvidia/tritonserver:25.10-py3"
VERSION = "${AIMASS_VERSION:?run ./justw secrets first}"
OPS_PORT, HTTP_PORT, GRPC_PORT = 9100, 8080, 8081
INSIDE, TRITON_ONLY, OUTSIDE = "inside", "triton", "outside"
KEY = "$$(cat /run/secrets/inference_triton_access_header_value)"
HEADING = """# The whole system in containers: ./justw secrets writes .env once, then: docker compose up --build --wait
# Written by ./justw docs from deploy/compose/. Without .env nothing starts. The admin's API key:
# docker compose exec auth cat /keys/admin.key
"""
READY = f"import urllib.request as u; u.urlopen('http://127.0.0.1:{OPS_PORT}/readyz', timeout=3)"
HARDENED = {"cap_drop": ["ALL"], "security_opt": ["no-new-privileges:true"], "init": True}


class Inline(dict[str, Any]):
    """A mapping that is short enough for one line."""


def document() -> dict[str, Any]:
    servers = {"nats": nats(), "postgres": postgres(), "triton": triton(), "provision": provision()}
    services = servers | {name: service(name) for name in SERVICES}
    return {
        "name": "aimass",
        "services": services,
        "networks": {INSIDE: Inline(internal=True), TRITON_ONLY: Inline(internal=True), OUTSIDE: Inline()},
        "volumes": dict.fromkeys(("nats", "postgres", "models", "artifacts", "keys", "sealing")),
        "secrets": secrets_of(services),
    }


def secrets_of(services: dict[str, Any]) -> dict[str, Any]:
    """A secret for each that a container names, taken from the variable of the same name in .env."""
    named = sorted({secret for container in services.values() for secret in container["secrets"]})
    return {name: Inline(environment=name.upper()) for name in named}


def nats() -> dict[str, Any]:
    return {
        "image": NATS_IMAGE,
        "command": ["--config", "/run/secrets/nats_config"],
        "secrets": ["nats_config"],
        "volumes": ["nats:/data"],
        "networks": [INSIDE],
        **kept_alive(["CMD", "wget", "-q", "-O", "/dev/null", "http://127.0.0.1:8222/healthz"]),
    }


def postgres() -> dict[str, Any]:
    return {
        "image": POSTGRES_IMAGE,
        "environment": {
            "POSTGRES_USER": ADMIN,
            "POSTGRES_PASSWORD_FILE": "/run/secrets/postgres_password",
            "POSTGRES_INITDB_ARGS": "--auth=scram-sha-256 --locale-provider=builtin --locale=C.UTF-8",
        },
        "secrets": ["postgres_password"],
        "volumes": ["postgres:/var/lib/postgresql"],
        "networks": [INSIDE],
        **kept_alive(["CMD", "pg_isready", "--host=127.0.0.1", f"--username={ADMIN}"]),
    }


def triton() -> dict[str, Any]:
    """Triton takes its access key from the command line only: docs/decisions/0002-triton-access-key.md."""
    options = ["--model-repository=/models", "--model-control-mode=explicit", "--strict-readiness=false"]
    options += [f"--http-restricted-api={RESTRICTED}:{ACCESS_HEADER}={KEY}"]
    options += [f"--grpc-restricted-protocol={RESTRICTED}:{ACCESS_HEADER}={KEY}"]
    return {
        "image": TRITON_IMAGE,
        "command": ["sh", "-c", f"exec tritonserver {' '.join(options)}"],
        "secrets": ["inference_triton_access_header_value"],
        "volumes": ["models:/models:ro"],
        "networks": [TRITON_ONLY],
        **kept_alive(["CMD", "curl", "--fail", "--silent", "http://127.0.0.1:8000/v2/health/live"]),
    }


def provision() -> dict[str, Any]:
    """The admin step: runs once before every start of the services."""
    return {
        **image("provision"),
        "command": ["python", "-m", "deploy.admin"],
        "secrets": ["admin_database_url", "admin_nats_url", "admin_passwords"],
        "networks": [INSIDE],
        "depends_on": {name: Inline(condition="service_healthy") for name in ("nats", "postgres")},
        "restart": "no",
        **HARDENED,
    }


def service(name: str) -> dict[str, Any]:
    settings = {"NATS_URL": "nats://nats:4222", "NATS_USER": name, "OPS_HOST": "0.0.0.0", "OPS_PORT": OPS_PORT}  # noqa: S104
    settings |= {"ARTIFACTS_URL": "file:///artifacts", "HOME_DIR": "/work", **own_settings(name)}
    return {
        **image(name),
        "environment": {f"{name.upper()}_{key}": value for key, value in settings.items()},
        "secrets": list(service_secrets(name)),
        "volumes": ["artifacts:/artifacts", *own_volumes(name)],
        "networks": [INSIDE, *own_networks(name)],
        **({"ports": list(published())} if name == "gateway" else {}),
        "depends_on": {"provision": Inline(condition="service_completed_successfully")},
        "stop_grace_period": "30s",
        **kept_alive(["CMD", "python", "-c", READY]),
        **HARDENED,
    }


def image(name: str) -> dict[str, Any]:
    build: dict[str, Any] = {"context": ".", "dockerfile": "deploy/images/Dockerfile", "args": Inline(SERVICE=name)}
    return {"image": f"aimass-{name}:{VERSION}", "build": build}


def kept_alive(check: list[str]) -> dict[str, Any]:
    health = Inline(test=check, interval="5s", timeout="4s", retries=12, start_period="60s")
    return {"healthcheck": health, "restart": "unless-stopped"}


def own_settings(name: str) -> dict[str, Any]:
    triton_settings = {"TRITON_URL": "http://triton:8000", "TRITON_GRPC": "triton:8001"}
    triton_settings |= {"TRITON_REPOSITORY": "/models", "TRITON_BACKEND": "onnxruntime"}
    triton_settings |= {"TRITON_ACCESS_HEADER_NAME": ACCESS_HEADER}
    gateway_ports = {"HOST": "0.0.0.0", "PORT": HTTP_PORT, "GRPC_PORT": GRPC_PORT}  # noqa: S104
    own: dict[str, dict[str, Any]] = {
        "auth": {"ADMIN_KEY_FILE": "/keys/admin.key", "SEAL_KEYS_FILE": "/keys/seal.keys"},
        "inference": {**triton_settings, "SEAL_KEYS_FILE": "/sealing/seal.keys"},
        "gateway": {**gateway_ports, "OPS_URLS": json.dumps(ops_urls())},
    }
    return own.get(name, {})


def published() -> Iterator[str]:
    """The gateway's ports on the host, for those who are on it."""
    for variable, port in (("AIMASS_PORT", HTTP_PORT), ("AIMASS_GRPC_PORT", GRPC_PORT)):
        yield f"127.0.0.1:${{{variable}:-{port}}}:{port}"


def ops_urls() -> dict[str, str]:
    """Each service's container has its name, and the gateway is on the network of them all."""
    return {service: f"http://{service}:{OPS_PORT}" for service in SERVICES}


def own_volumes(name: str) -> list[str]:
    return {"auth": ["keys:/keys"], "inference": ["models:/models", "sealing:/sealing"]}.get(name, [])


def own_networks(name: str) -> list[str]:
    """Nobody but inference reaches Triton, and only the gateway is reached from outside, where webhooks are."""
    return {"inference": [TRITON_ONLY, OUTSIDE], "gateway": [OUTSIDE]}.get(name, [])


def service_secrets(name: str) -> Iterator[str]:
    """Each is a file that the settings class reads by its name."""
    yield f"{name}_nats_password"
    if name in DATABASE_SERVICES:
        yield f"{name}_database_url"
    if name == "auth":
        yield "auth_callout_secret"
    if name == "inference":
        yield "inference_triton_access_header_value"


class Compact(yaml.SafeDumper):
    """Lists and inline mappings in one line each, every value written out where it stands."""

    def ignore_aliases(self, data: Any) -> bool:
        return True


Compact.add_representer(list, lambda dumper, data: dumper.represent_sequence("tag:yaml.org,2002:seq", data, True))
Compact.add_representer(Inline, lambda dumper, data: dumper.represent_mapping("tag:yaml.org,2002:map", data, True))


def text() -> str:
    return HEADING + yaml.dump(document(), Dumper=Compact, sort_keys=False, width=1000)
