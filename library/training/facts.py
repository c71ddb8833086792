"""Where a training stands, and which checkpoint stands where: read without torch."""

import json
import struct
from dataclasses import dataclass
from pathlib import Path

LENGTH = struct.Struct("<Q")


@dataclass(frozen=True)
class Position:
    """After so many epochs, and so many steps of the next one."""

    epoch: int
    step: int

    def __str__(self) -> str:
        return f"after step {self.step} of epoch {self.epoch + 1}" if self.step else f"after epoch {self.epoch}"


def position_of(path: Path) -> Position:
    """Of a checkpoint that is whole; those of earlier releases are all of the end of an epoch."""
    with path.open("rb") as file:
        (length,) = LENGTH.unpack(file.read(LENGTH.size))
        facts = json.loads(file.read(length))["__metadata__"]
    return Position(int(facts["epoch"]), int(facts.get("step", "0")))
