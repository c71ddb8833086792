"""Rewrites stack.json whenever a part starts or ends, and looks at the bus every few seconds.

An event listener of supervisor.

Usage: python -m deploy.embedded.listener HOME
"""

import json
import os
import sys
from pathlib import Path

from supervisor.childutils import listener

from deploy.embedded.bus_watch import BusWatch
from deploy.embedded.control import LISTENER, Manager
from deploy.embedded.home import Home
from deploy.embedded.launch import write_private
from deploy.embedded.processes import identity

TICK = "TICK"


def record(home: Home, manager: Manager) -> None:
    """Write the pids for readers, and the pids with their start times for the next `up` to reap by."""
    pids = manager.pids()
    listener_pid = pids.pop(LISTENER)
    pids["supervisord"] = os.getppid()
    identities = {name: identity(pid) for name, pid in [*pids.items(), (LISTENER, listener_pid)]}
    write_private(home.processes_file, json.dumps({name: mark for name, mark in identities.items() if mark}, indent=1))
    stack = json.loads(home.endpoints_file.read_text()) | {"processes": pids}
    write_private(home.stack_file, json.dumps(stack, indent=1))


def main() -> None:
    home = Home(Path(sys.argv[1]))
    manager, watch = Manager(home.socket), BusWatch(home)
    event = ""
    while True:
        if manager.answers():
            if event.startswith(TICK):
                watch.look(manager.pids().get("nats"))
            else:
                record(home, manager)
        event = listener.wait(sys.stdin, sys.stdout)[0]["eventname"]
        listener.ok(sys.stdout)


if __name__ == "__main__":
    main()
