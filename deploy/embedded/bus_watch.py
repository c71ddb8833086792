"""Ends a bus that has switched its storage off, once there is space again; the process manager starts it anew.

NATS does so when a write fails, as on a full disk, for all of its storage or for one stream, and never looks again.
"""

import os
import shutil
import signal
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from http.client import HTTPException
from typing import Final
from urllib.error import HTTPError

from deploy.embedded.home import Home
from deploy.embedded.ports import LOOPBACK
from deploy.embedded.probes import DIRECTLY

PATIENCE_SECONDS: Final = 15.0
SPACE_BYTES: Final = 16 * 1024 * 1024
ANSWER_SECONDS: Final = 2.0
WRITING: Final = "write error"
LONGEST: Final = 4096


class Illness:
    """How long a process has said without a break that it is ill, since it was well or tells of a write.

    One that starts is ill at first, while it reads what it has.
    """

    def __init__(self) -> None:
        self._pid, self._has_begun = 0, False
        self._since: float | None = None

    def seconds(self, pid: int, said: str | None, now: float) -> float:
        """After another look: it says what ails it, nothing where it is well; None is for no answer."""
        if pid != self._pid:
            self._pid, self._has_begun, self._since = pid, False, None
        if said is not None:
            self._has_begun |= said == "" or WRITING in said
            self._since = (now if self._since is None else self._since) if said and self._has_begun else None
        return 0.0 if self._since is None else now - self._since


class BusWatch:
    """Looks at the bus of a stack."""

    def __init__(self, home: Home, clock: Callable[[], float] = time.monotonic) -> None:
        self._home, self._clock = home, clock
        self._illness = Illness()

    def look(self, pid: int | None) -> None:
        """End the process of the bus where nothing else helps; asked to end first, and killed at the second time."""
        if pid is None:
            return
        seconds = self._illness.seconds(pid, self._said(), self._clock())
        if seconds < PATIENCE_SECONDS or shutil.disk_usage(self._home.folder("nats", "store")).free < SPACE_BYTES:
            return
        how = signal.SIGTERM if seconds < 2 * PATIENCE_SECONDS else signal.SIGKILL
        print(f"nats has been ill for {seconds:.0f} s, and there is space: {how.name}", file=sys.stderr, flush=True)
        with suppress(ProcessLookupError):
            os.kill(pid, how)

    def _said(self) -> str | None:
        url = f"http://{LOOPBACK}:{self._home.kept_ports()['nats-monitor']}/healthz"
        try:
            with DIRECTLY.open(url, timeout=ANSWER_SECONDS):
                return ""
        except HTTPError as error:
            with error:
                return error.read(LONGEST).decode(errors="replace") or error.reason
        except (OSError, HTTPException):
            return None
