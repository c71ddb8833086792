"""The parts of the stack, in the order in which they start, and how each is launched."""

import json
import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from deploy import extension
from deploy.embedded import servers
from deploy.embedded.home import Home
from deploy.embedded.launch import Launch, base_environment, write_private
from deploy.embedded.ports import LOOPBACK
from deploy.embedded.servers import ADMIN, BUS_ADMIN, ROOT, BusUser, TritonPorts
from deploy.provision import DATABASE, DATABASE_SERVICES
from shared.streams import SERVICES

DEFAULT_HOME = ROOT / ".aimass"
SERVERS = ("nats", "postgres", "triton")
PARTS = (*SERVERS, *SERVICES)
USING_LIBRARY = ("trainer", "evaluator")
USUAL_PORTS = {
    "gateway": 8080,
    "gateway-grpc": 8081,
    "nats": 4222,
    "nats-monitor": 8222,
    "postgres": 5432,
    "triton-http": 8000,
    "triton-grpc": 8001,
    "triton-metrics": 8002,
    **{f"ops-{service}": 9101 + number for number, service in enumerate(SERVICES)},
}
READY_PORTS = {
    "nats": "nats-monitor",
    "postgres": "postgres",
    "triton": "triton-http",
    **{service: f"ops-{service}" for service in SERVICES},
}
READY_PATHS = {"nats": "/healthz", "triton": "/v2/health/live"}
EXTENSION_SECRET = f"nats-{extension.EXTENSION}"
CALLOUT_SECRET = "nats-callout"  # noqa: S105
SECRETS = (
    "nats-admin",
    "postgres-admin",
    "triton",
    EXTENSION_SECRET,
    CALLOUT_SECRET,
    *(f"nats-{service}" for service in SERVICES),
    *(f"postgres-{service}" for service in DATABASE_SERVICES),
)
Settings = Mapping[str, Mapping[str, str]]


@dataclass(frozen=True)
class Plan:
    """Where everything of one stack is, and what opens it."""

    home: Home
    ports: Mapping[str, int]
    secrets: Mapping[str, str] = field(repr=False)
    settings: Settings = field(default_factory=dict)

    @classmethod
    def make(cls, home: Home, settings: Settings) -> "Plan":
        """Choose for a stack that does not run; the usual ports are for the checkout's own."""
        is_own = home.path == DEFAULT_HOME
        ports = home.choose_ports({name: port if is_own else None for name, port in USUAL_PORTS.items()})
        return cls(home, ports, home.secrets(SECRETS), settings)

    @classmethod
    def kept(cls, home: Home, settings: Settings) -> "Plan":
        """What was chosen before."""
        return cls(home, home.kept_ports(), home.secrets(SECRETS), settings)

    def address(self, port: str) -> str:
        return f"{LOOPBACK}:{self.ports[port]}"

    def url(self, port: str) -> str:
        return f"http://{self.address(port)}"

    @property
    def bus_url(self) -> str:
        return f"nats://{LOOPBACK}:{self.ports['nats']}"

    @property
    def bus_admin_url(self) -> str:
        return f"nats://{BUS_ADMIN}:{self.secrets['nats-admin']}@{LOOPBACK}:{self.ports['nats']}"

    @property
    def database_address(self) -> str:
        return f"{LOOPBACK}:{self.ports['postgres']}"

    @property
    def admin_dsn(self) -> str:
        return self.admin_dsn_for("postgres")

    def admin_dsn_for(self, database: str) -> str:
        return f"postgresql://{ADMIN}:{self.secrets['postgres-admin']}@{self.database_address}/{database}"

    def passwords(self, of: str) -> dict[str, str]:
        """The passwords at "nats" or "postgres" by service."""
        return {name: self.secrets[f"{of}-{name}"] for name in SERVICES if f"{of}-{name}" in self.secrets}

    def endpoints(self) -> dict[str, Any]:
        """The lasting part of stack.json, which its owner alone may read: addresses let the administrator in."""
        return {
            "gateway": self.url("gateway"),
            "gateway_grpc": f"{LOOPBACK}:{self.ports['gateway-grpc']}",
            "nats": self.bus_admin_url,
            "postgres": self.admin_dsn_for(DATABASE),
            "triton": {
                "http": self.url("triton-http"),
                "grpc": f"{LOOPBACK}:{self.ports['triton-grpc']}",
                "metrics": f"{self.url('triton-metrics')}/metrics",
                "access_header": [servers.ACCESS_HEADER, self.secrets["triton"]],
            },
            "admin_key_file": str(self.home.admin_key_file),
        }


def launches(plan: Plan) -> dict[str, Launch]:
    """How each part is started."""
    ports = TritonPorts(plan.ports["triton-http"], plan.ports["triton-grpc"], plan.ports["triton-metrics"])
    found = {
        "nats": servers.nats_launch(plan.home.folder("nats") / "nats.conf"),
        "postgres": servers.postgres_launch(plan.home.cluster, plan.ports["postgres"]),
        "triton": servers.triton_launch(plan.home.folder("triton", "repository"), ports, plan.secrets["triton"]),
        **{service: service_launch(plan, service) for service in SERVICES},
    }
    return {name: replace(launch, start_marker=str(plan.home.start_marker(name))) for name, launch in found.items()}


def service_launch(plan: Plan, service: str) -> Launch:
    settings = common_settings(plan, service) | own_settings(plan, service) | dict(plan.settings.get(service, {}))
    environment = {f"{service.upper()}_{key}": value for key, value in settings.items()}
    folders = [ROOT, plan.home.members] if service in USING_LIBRARY else [ROOT]
    environment |= {"PYTHONPATH": os.pathsep.join(map(str, folders)), "PYTHONUNBUFFERED": "1"}
    argv = [sys.executable, "-m", f"services.{service}"]
    folder = str(plan.home.folder("work", service))
    listens = service == "gateway"
    return Launch(argv, folder, base_environment(environment), listens=listens, least_seconds_between_starts=2.0)


def common_settings(plan: Plan, service: str) -> dict[str, str]:
    return {
        "NATS_URL": plan.bus_url,
        "NATS_USER": service,
        "NATS_PASSWORD": plan.secrets[f"nats-{service}"],
        "OPS_PORT": str(plan.ports[f"ops-{service}"]),
        "ARTIFACTS_URL": plan.home.folder("artifacts").as_uri(),
        "TRACE_FILE": str(plan.home.folder("traces") / f"{service}.jsonl"),
        "LOG_LEVEL": "INFO",
        "HOME_DIR": str(plan.home.folder("work", service)),
    }


def own_settings(plan: Plan, service: str) -> dict[str, str]:
    """What only this service needs."""
    own: dict[str, str] = {}
    if service in DATABASE_SERVICES:
        password = plan.secrets[f"postgres-{service}"]
        own["DATABASE_URL"] = f"postgresql://{service}:{password}@{plan.database_address}/{DATABASE}"
    if service == "gateway":
        own["PORT"] = str(plan.ports["gateway"])
        own["GRPC_PORT"] = str(plan.ports["gateway-grpc"])
        own["SHARED_MB"] = "64"
        own["OPS_URLS"] = json.dumps({name: plan.url(f"ops-{name}") for name in SERVICES})
    if service == "auth":
        own["ADMIN_KEY_FILE"] = str(plan.home.admin_key_file)
        own["CALLOUT_SECRET"] = plan.secrets[CALLOUT_SECRET]
    if service == "inference":
        own["TRITON_URL"] = plan.url("triton-http")
        own["TRITON_GRPC"] = f"{LOOPBACK}:{plan.ports['triton-grpc']}"
        own["TRITON_REPOSITORY"] = str(plan.home.folder("triton", "repository"))
        own["TRITON_ACCESS_HEADER_NAME"] = servers.ACCESS_HEADER
        own["TRITON_ACCESS_HEADER_VALUE"] = plan.secrets["triton"]
    return own


def write_bus_config(plan: Plan, users: Mapping[str, BusUser]) -> None:
    """The configuration of the bus, and beside it what software of others needs to use it."""
    secret = plan.secrets[EXTENSION_SECRET]
    everyone = {BUS_ADMIN: BusUser(plan.secrets["nats-admin"]), extension.EXTENSION: extension.user(secret), **users}
    folder = plan.home.folder("nats")
    ports = plan.ports["nats"], plan.ports["nats-monitor"]
    text = servers.nats_config(folder / "store", *ports, everyone, plan.secrets[CALLOUT_SECRET])
    write_private(folder / "nats.conf", text)
    write_private(plan.home.extension_file, json.dumps(extension.credentials(plan.bus_url, secret), indent=1))


def ready_url(plan: Plan, part: str) -> str:
    """The URL that answers 200 when the part is ready; PostgreSQL has none."""
    return f"{plan.url(READY_PORTS[part])}{READY_PATHS.get(part, '/readyz')}"
