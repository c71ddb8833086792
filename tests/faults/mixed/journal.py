"""The client's journal and the history of the faults: JSON lines, on the disk before what they tell of begins."""

import json
import os
import threading
import time
from pathlib import Path
from typing import Any


class Journal:
    """Appends lines; each is synced before `write` returns."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._file = path.open("a", encoding="utf-8")
        self._lock = threading.Lock()
        self._begun = time.monotonic()

    def write(self, what: str, **facts: Any) -> None:
        line = json.dumps({"at": round(time.monotonic() - self._begun, 3), "what": what, **facts})
        with self._lock:
            self._file.write(f"{line}\n")
            self._file.flush()
            os.fsync(self._file.fileno())

    def read(self, *kinds: str) -> list[dict[str, Any]]:
        """The lines of these kinds, as they stand on the disk."""
        lines = [json.loads(line) for line in self.path.read_text(encoding="utf-8").splitlines()]
        return [line for line in lines if line["what"] in kinds]
