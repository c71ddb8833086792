"""supervisord that looks at its children when one of them ends, rather than once a second.

It holds the socket that the gateway listens on, so that who connects while the gateway starts again only waits.
"""

import fcntl
import os
import signal
import socket
from contextlib import suppress
from typing import Any

from supervisor.options import ServerOptions
from supervisor.supervisord import go

from deploy.embedded.manager import ADDRESS, LISTENING, LOW_DESCRIPTORS

AT_ONCE = 4096


def wake_for_signals(options: Any) -> None:
    """A signal, such as that of a child's end, ends the wait of the poller, and the next one too.

    supervisord reaps a child after it has looked what is to be started, so that it starts it a turn later.
    """
    reading, writing = os.pipe()
    os.set_blocking(reading, False)
    os.set_blocking(writing, False)
    signal.set_wakeup_fd(writing, warn_on_full_buffer=False)
    options.poller.register_readable(reading)
    wait, woken = options.poller.poll, False

    def poll(timeout: float) -> tuple[list[int], list[int]]:
        nonlocal woken
        readable, writable = wait(0 if woken else timeout)
        woken = reading in readable
        with suppress(BlockingIOError):
            os.read(reading, AT_ONCE)
        return [fd for fd in readable if fd != reading], writable

    options.poller.poll = poll


def keep_inherited() -> None:
    """Descriptors from `up` keep the stack's ports reserved while it runs; children are not given them."""


def listen() -> None:
    """child.py gives the descriptor to the gateway alone; supervisord itself closes only low ones in its children."""
    host, _, port = os.environ.pop(ADDRESS).rpartition(":")
    held = socket.create_server((host, int(port)), backlog=1024)
    os.environ[LISTENING] = str(fcntl.fcntl(held.detach(), fcntl.F_DUPFD, LOW_DESCRIPTORS))


def main() -> None:
    listen()
    options = ServerOptions()
    wake_for_signals(options)
    options.cleanup_fds = keep_inherited
    options.realize(None, doc=__doc__)
    options.first, options.test = True, False
    go(options)
    options.close_httpservers()
    options.close_logger()


if __name__ == "__main__":
    main()
