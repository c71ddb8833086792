"""One real server for a test, on free ports in a temporary folder, that can be killed and started again.

A server dies with the thread that started it, so tests start it from their main thread.
"""

import secrets
import signal
import subprocess
import time
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from deploy.embedded import servers
from deploy.embedded.cluster import create_cluster
from deploy.embedded.launch import Launch, write_private
from deploy.embedded.ports import LOOPBACK, free_port
from deploy.embedded.probes import accepts_connections, answers, tail
from deploy.embedded.servers import ADMIN, BUS_ADMIN, BusUser, TritonPorts

START_SECONDS = 120.0
STOP_SECONDS = 15.0


class ServerFailed(Exception):
    """The server did not become ready."""


class Server(ABC):
    """A child process with a log file; `start` returns when it is ready."""

    stop_signal = signal.SIGTERM

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        self.folder = folder.resolve()
        self.log = self.folder / "server.log"
        self.process: subprocess.Popen[bytes] | None = None

    @abstractmethod
    def launch(self) -> Launch: ...

    @abstractmethod
    def is_ready(self) -> bool: ...

    @property
    def pid(self) -> int:
        if self.process is None:
            raise ServerFailed(f"{type(self).__name__} is not started")
        return self.process.pid

    def start(self) -> None:
        """Start it on the same ports and data as before; a predecessor's last children may delay that."""
        deadline = time.monotonic() + START_SECONDS
        self._spawn()
        while not self.is_ready():
            if time.monotonic() > deadline:
                self.kill()
                raise ServerFailed(f"{type(self).__name__} is not ready:\n{tail(self.log)}")
            if self.process is None or self.process.poll() is not None:
                self._spawn()
            time.sleep(0.02)

    def stop(self) -> None:
        """Ask it to end, and end it after a while."""
        if self.process is None:
            return
        self.process.send_signal(self.stop_signal)
        try:
            self.process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self.kill()
        self.process = None

    def kill(self) -> None:
        """Crash it with SIGKILL."""
        if self.process is not None:
            self.process.kill()
            self.process.wait()
        self.process = None

    def _spawn(self) -> None:
        command = self.launch().write(self.folder / "launch.json")
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log)


class NatsServer(Server):
    """`url` is for the administrator or `users` by name: url_for("trainer")."""

    def __init__(
        self,
        folder: Path,
        users: Mapping[str, BusUser] | None = None,
        callout_secret: str = "",
        certificates: Path | None = None,
    ) -> None:
        super().__init__(folder)
        self.callout_secret, self.certificates = callout_secret, certificates
        self.port, self.monitor_port = free_port(), free_port()
        self.users = {BUS_ADMIN: BusUser(secrets.token_hex(16)), **(users or {})}

    @property
    def servers(self) -> str:
        return f"nats://{LOOPBACK}:{self.port}"

    @property
    def monitor_url(self) -> str:
        return f"http://{LOOPBACK}:{self.monitor_port}"

    @property
    def url(self) -> str:
        return self.url_for(BUS_ADMIN)

    def url_for(self, user: str) -> str:
        return f"nats://{user}:{self.users[user].password}@{LOOPBACK}:{self.port}"

    def launch(self) -> Launch:
        config = self.folder / "nats.conf"
        store = self.folder / "jetstream"
        ports = self.port, self.monitor_port
        write_private(config, servers.nats_config(store, *ports, self.users, self.callout_secret, self.certificates))
        return servers.nats_launch(config)

    def is_ready(self) -> bool:
        return answers(f"{self.monitor_url}/healthz")


class PostgresServer(Server):
    """`dsn` is the administrator's, for the database `postgres`; dsn_for("aimass") names another."""

    stop_signal = signal.SIGINT

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.port = free_port()
        self.user, self.password = ADMIN, secrets.token_hex(16)
        self.data = self.folder / "data"
        create_cluster(self.data, self.password)

    @property
    def dsn(self) -> str:
        return self.dsn_for("postgres")

    def dsn_for(self, database: str) -> str:
        return f"postgresql://{self.user}:{self.password}@{LOOPBACK}:{self.port}/{database}"

    def launch(self) -> Launch:
        return servers.postgres_launch(self.data, self.port)

    def is_ready(self) -> bool:
        return accepts_connections(self.dsn)


class TritonServer(Server):
    """`access_header` opens the restricted APIs over HTTP; gRPC wants `grpc_access_header`."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.ports = TritonPorts(free_port(), free_port(), free_port())
        self.repository = self.folder / "repository"
        self.repository.mkdir(exist_ok=True)
        self.access_header = (servers.ACCESS_HEADER, secrets.token_hex(16))

    @property
    def http(self) -> str:
        return f"http://{LOOPBACK}:{self.ports.http}"

    @property
    def grpc(self) -> str:
        return f"{LOOPBACK}:{self.ports.grpc}"

    @property
    def metrics(self) -> str:
        return f"http://{LOOPBACK}:{self.ports.metrics}/metrics"

    @property
    def grpc_access_header(self) -> tuple[str, str]:
        return f"triton-grpc-protocol-{self.access_header[0]}", self.access_header[1]

    def launch(self) -> Launch:
        return servers.triton_launch(self.repository, self.ports, self.access_header[1])

    def is_ready(self) -> bool:
        return answers(f"{self.http}/v2/health/ready")


@contextmanager
def nats_server(
    folder: Path,
    users: Mapping[str, BusUser] | None = None,
    callout_secret: str = "",
    certificates: Path | None = None,
) -> Iterator[NatsServer]:
    """NATS with JetStream, an administrator and `users`; with a secret it asks auth about everybody else.

    With certificates it is reached by TLS only, by who has one.
    """
    server = NatsServer(folder, users, callout_secret, certificates)
    with started(server):
        yield server


@contextmanager
def postgres_server(folder: Path) -> Iterator[PostgresServer]:
    """PostgreSQL with an empty database `postgres`."""
    server = PostgresServer(folder)
    with started(server):
        yield server


@contextmanager
def triton_server(folder: Path) -> Iterator[TritonServer]:
    """Triton with an empty repository in explicit control mode."""
    server = TritonServer(folder)
    with started(server):
        yield server


@contextmanager
def started(server: Server) -> Iterator[None]:
    server.start()
    try:
        yield
    finally:
        server.stop()
