"""Control of a running supervisord over its private socket."""

import xmlrpc.client
from collections.abc import Collection
from pathlib import Path
from typing import Any

from supervisor.xmlrpc import SupervisorTransport

LISTENER = "stack-file"
ALIVE = {"STARTING", "RUNNING", "BACKOFF", "STOPPING"}


class Manager:
    """The process manager that listens on a socket."""

    def __init__(self, socket: Path) -> None:
        self.socket = socket

    def answers(self) -> bool:
        """Whether it is there and not about to stop."""
        if not self.socket.exists():
            return False
        try:
            return bool(self._call("getState")["statename"] == "RUNNING")
        except (OSError, xmlrpc.client.Error):
            return False

    def states(self) -> dict[str, dict[str, Any]]:
        """What supervisor knows of each process, by name."""
        return {info["name"]: info for info in self._call("getAllProcessInfo")}

    def pids(self) -> dict[str, int]:
        """The pids of what runs now."""
        return {name: info["pid"] for name, info in self.states().items() if info["pid"]}

    def start(self, parts: Collection[str]) -> None:
        """Start those that do not run."""
        states = self.states()
        for part in parts:
            if states[part]["statename"] not in ALIVE:
                self._call("startProcess", full_name(states[part]), False)

    def stop(self, parts: Collection[str]) -> None:
        """Stop them one after the other, each within its time."""
        states = self.states()
        for part in parts:
            if states[part]["statename"] in ALIVE:
                self._call("stopProcess", full_name(states[part]), True)

    def shutdown(self) -> None:
        self._call("shutdown")

    def _call(self, method: str, *arguments: Any) -> Any:
        """Over a connection of its own: a broken one would stay broken."""
        transport = SupervisorTransport(None, None, f"unix://{self.socket}")
        with xmlrpc.client.ServerProxy("http://localhost", transport) as proxy:
            return getattr(proxy.supervisor, method)(*arguments)


def full_name(info: dict[str, Any]) -> str:
    return f"{info['group']}:{info['name']}"
