"""A real Ray cluster on one machine: a head that runs nothing, and nodes with addresses of their own to be killed."""

import os
import secrets
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import psutil

from deploy import ray

START_SECONDS = 90
MODULE = "services.trainer.engine"


@dataclass
class Node:
    """One node, by its address, and the process that started all that it consists of."""

    ip: str
    process: "subprocess.Popen[bytes]"

    def processes(self) -> list[psutil.Process]:
        if not psutil.pid_exists(self.process.pid):
            return []
        started = psutil.Process(self.process.pid)
        return [started, *started.children(recursive=True)]

    def trainings(self) -> list[psutil.Process]:
        """The processes of tasks that run here."""
        return [process for process in self.processes() if _is_training(process)]

    def kill(self) -> None:
        """All of it at once, as where a machine loses power."""
        for process in self.processes():
            process.kill()
        self.process.wait()


def _is_training(process: psutil.Process) -> bool:
    try:
        return MODULE in process.cmdline()
    except (psutil.NoSuchProcess, psutil.ZombieProcess):
        return False


@dataclass
class RayCluster:
    """Its head listens at the port; whoever has the token may run anything there."""

    folder: Path
    port: int
    python: Path
    nodes: dict[str, Node] = field(default_factory=dict)

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.port}"

    @property
    def token_file(self) -> Path:
        return self.folder / "token"

    def add(self, last: int, cpus: float = 1, gpus: float = 0) -> Node:
        """A node at the loopback address that ends with this number."""
        ip = f"127.0.0.{last}"
        takes = [f"--num-cpus={cpus:g}", f"--num-gpus={gpus:g}", f"--node-ip-address={ip}"]
        self.nodes[ip] = self._start(ip, f"--address={self.address}", *takes)
        return self.nodes[ip]

    def start_head(self) -> None:
        options = [f"--port={self.port}", "--num-cpus=0", "--include-dashboard=false"]
        options.append(f"--ray-client-server-port={free_port()}")
        self.nodes["head"] = self._start("head", "--head", *options)

    def _start(self, name: str, *arguments: str) -> Node:
        log = self.folder / f"{name}.log"
        token = {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN_PATH": str(self.token_file)}
        # Short: Ray keeps sockets below it, whose paths may have a hundred bytes.
        given = {"RAY_TMPDIR": str(self.folder), **token, **ray.SILENT}
        with log.open("wb") as output:
            process = subprocess.Popen(
                [self.python, self.python.parent / "ray", "start", *arguments, "--block"],
                env={"PATH": os.environ["PATH"], "HOME": str(self.folder), "TMPDIR": str(self.folder)} | given,
                stdout=output,
                stderr=output,
            )
        deadline = time.monotonic() + START_SECONDS
        while "Ray runtime started" not in log.read_text():
            if process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"Ray did not start: {log.read_text()}")
            time.sleep(0.1)
        return Node(name, process)

    def trainings(self) -> list[psutil.Process]:
        return [training for node in self.nodes.values() for training in node.trainings()]

    def footholds(self) -> list[str]:
        """The processes of Ray's that belong to tasks."""
        processes = [process for node in self.nodes.values() for process in node.processes()]
        return [name for process in processes if "Foothold" in (name := _title(process))]


def _title(process: psutil.Process) -> str:
    try:
        return " ".join(process.cmdline())
    except psutil.Error:
        return ""


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextmanager
def ray_cluster(folder: Path) -> Iterator[RayCluster]:
    cluster = RayCluster(folder, free_port(), ray.python())
    cluster.token_file.write_text(secrets.token_hex(32))
    try:
        cluster.start_head()
        yield cluster
    finally:
        for node in cluster.nodes.values():
            node.kill()
