"""The processes in which Triton's Python backend runs models: what memory they take, and their end."""

from collections import defaultdict
from contextlib import suppress
from pathlib import Path
from typing import Final

import psutil

STUB: Final = "triton_python_backend_stub"
SERVER: Final = "tritonserver"
REPOSITORY: Final = "--model-repository="


class Processes:
    """The processes of the models of one repository, where they can be seen from here."""

    def __init__(self, repository: Path) -> None:
        self._root = repository.resolve()
        self._known: dict[psutil.Process, str] = {}

    def measure(self) -> dict[str, tuple[int, int]]:
        """Bytes and number of the processes of each version, by its name in Triton; nothing in another container."""
        found: dict[str, list[int]] = defaultdict(list)
        for process, name in self._stubs().items():
            try:
                found[name].append(process.memory_info().rss)
            except psutil.Error:
                self._known.pop(process, None)  # it has just ended
        return {name: (sum(each), len(each)) for name, each in found.items() if name}

    def end(self, name: str) -> None:
        """Kill the processes of a version, also those that hang; Triton does not."""
        for process in psutil.process_iter():
            if self._model(_command(process)) == name:
                with suppress(psutil.Error):  # it has ended by itself
                    process.kill()

    def runs(self, name: str) -> bool:
        """Whether a version has a process that lives; one that has died has no command line any more."""
        return any(self._model(_command(process)) == name for process in psutil.process_iter())

    def end_server(self) -> list[int]:
        """Kill the Triton of this repository, and tell which processes that were; none in another container."""
        ended = []
        for process in psutil.process_iter():
            if self._serves(_command(process)):
                with suppress(psutil.Error):  # it has ended by itself
                    process.kill()
                    ended.append(process.pid)
        return ended

    def _serves(self, command: list[str]) -> bool:
        """Whether a process with this command line is the Triton of this repository."""
        if not command or Path(command[0]).name != SERVER:
            return False
        folders = (part.removeprefix(REPOSITORY) for part in command if part.startswith(REPOSITORY))
        return any(Path(folder).resolve() == self._root for folder in folders)

    def _stubs(self) -> dict[psutil.Process, str]:
        """Command lines are read once a process, as soon as it has one: for a moment a process that starts has none."""
        running = set(psutil.process_iter())
        self._known = {process: name for process, name in self._known.items() if process in running}
        for process in running - self._known.keys():
            if command := _command(process):
                self._known[process] = self._model(command)
        return {process: name for process, name in self._known.items() if name}

    def _model(self, command: list[str]) -> str:
        """The version that a process with this command line runs, or nothing."""
        if len(command) < 2 or not command[0].endswith(STUB):
            return ""
        folder = Path(command[1]).parents[1]
        return folder.name if folder.parent.resolve() == self._root else ""


def _command(process: psutil.Process) -> list[str]:
    try:
        return process.cmdline()
    except psutil.Error:
        return []
