"""The command `aimass` as people run it: a process with a folder and an environment of its own."""

import json
import os
import pty
import signal
import subprocess
import sys
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.wheels import ROOT

SECONDS = 360.0


def _heeds_interrupts() -> None:
    """As at a terminal, also where the tests run in the background, whose processes are told to ignore them."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


@dataclass
class Shell:
    """Where commands run; `said` is all that they have printed."""

    home: Path
    variables: dict[str, str] = field(default_factory=dict)
    said: str = ""

    @property
    def environment(self) -> dict[str, str]:
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("AIMASS_", "XDG_"))}
        places = {"HOME": str(self.home), "PYTHONPATH": str(ROOT / "sdk"), "PYTHONUNBUFFERED": "1"}
        return kept | places | self.variables

    def begin(self, *arguments: object) -> subprocess.Popen[str]:
        """A command that goes on until it ends by itself or is stopped."""
        command = [sys.executable, "-m", "aimass", *map(str, arguments)]
        pipe = subprocess.PIPE
        return subprocess.Popen(
            command,
            stdin=pipe,
            stdout=pipe,
            stderr=pipe,
            text=True,
            env=self.environment,
            preexec_fn=_heeds_interrupts,
        )

    def run(self, *arguments: object, code: int = 0, given: str = "") -> subprocess.CompletedProcess[str]:
        """A command that ends with this code."""
        with self.begin(*arguments) as process:
            out, err = process.communicate(given, timeout=SECONDS)
        self.said += out + err
        assert process.returncode == code, f"{arguments} ended with {process.returncode}: {out}{err}"
        return subprocess.CompletedProcess(arguments, code, out, err)

    def seen(self, *arguments: object) -> str:
        """What a person sees at a terminal until the command has ended well, with its colours and movements."""
        ours, its = pty.openpty()
        command = [sys.executable, "-m", "aimass", *map(str, arguments)]
        variables = self.environment | {"TERM": "xterm", "COLUMNS": "100"}
        process = subprocess.Popen(command, stdin=its, stdout=its, stderr=its, env=variables)
        os.close(its)
        shown = b""
        with suppress(OSError):  # which is how a terminal ends
            while piece := os.read(ours, 1 << 16):
                shown += piece
        os.close(ours)
        assert process.wait(SECONDS) == 0, shown
        return shown.decode()

    def json(self, *arguments: object, given: str = "") -> Any:
        """The one document that a command prints."""
        return json.loads(self.run(*arguments, "--json", given=given).stdout)

    def lines(self, *arguments: object, code: int = 0) -> list[dict[str, Any]]:
        """The documents of a command that follows something, one a line."""
        return [json.loads(line) for line in self.run(*arguments, "--json", code=code).stdout.splitlines()]
