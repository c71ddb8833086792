"""Large bodies in memory that a gateway shares with the inference and the Triton of its machine.

A pool is a file in shared memory that one gateway alone writes. Its first block holds the generations of all. Whoever
reads a body knows the generation that it was written in, and trusts what came of it only if it is still that one
afterwards: see docs/decisions/0073-bodies-in-shared-memory.md.
"""

import fcntl
import mmap
import os
import secrets
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import ClassVar, Final, NamedTuple

import numpy as np

from shared import observe
from shared.errors import AimassError, InvalidInput
from shared.oip import Region
from shared.tensors import Raw

FOLDER: Final = Path("/dev/shm")  # noqa: S108 (where shm_open, by which Triton finds it, looks)
PREFIX: Final = "aimass-bodies-"
ID_BYTES: Final = 16
BLOCK_BYTES: Final = 64 * 1024
LARGEST_BYTES: Final = BLOCK_BYTES // 8 * BLOCK_BYTES
LARGEST_SHARE: Final = 4
_PLACE = struct.Struct(f">{ID_BYTES}sQII")


class NotHere(AimassError):
    """The body lies in memory that is not here: its gateway is on another machine, or has ended."""

    code: ClassVar[str] = "body_not_here"
    status: ClassVar[int] = 421


class Place(NamedTuple):
    """Where a body lies: the pool, the generation of its first block, and offset and size in bytes."""

    pool: bytes
    generation: int
    offset: int
    size: int

    def encode(self) -> bytes:
        return _PLACE.pack(*self)

    @classmethod
    def decode(cls, data: Raw) -> "Place":
        try:
            return cls(*_PLACE.unpack(data))
        except struct.error:
            raise InvalidInput(f"a place has {_PLACE.size} bytes, found {len(data)}") from None


class Lease:
    """Blocks of a pool that nobody else writes until it is released; `view` is their memory."""

    def __init__(self, pool: "BodyPool", first: int, count: int, size: int) -> None:
        self._pool, self._first, self._count = pool, first, count
        self.view = pool.memory(first, size)

    def place(self, size: int) -> Place:
        """Where a body of this size lies that was written to its beginning."""
        return self._pool.place(self._first, size)

    def release(self) -> None:
        """Let others write here. Whatever still reads it will not be trusted."""
        if self._count:
            self.view.release()
            self._pool.take_back(self._first, self._count)
            self._count = 0


class BodyPool:
    """The bodies that a gateway writes; memory is taken from the machine as it is first needed, and kept."""

    def __init__(self, size: int) -> None:
        """At most LARGEST_BYTES. Raises OSError where there is no shared memory, or no more of it."""
        self._blocks = blocks = size // BLOCK_BYTES
        self.largest = size // LARGEST_SHARE
        _sweep()
        self._id, self._file = _create(blocks * BLOCK_BYTES)
        self._reserved = 0
        try:
            self._reserve(1)
        except OSError:
            self.close()
            raise
        self._memory = memoryview(mmap.mmap(self._file, 0))
        self._generations = self._memory[:BLOCK_BYTES].cast("Q")
        self._free = _run(1, blocks - 1)

    def lease(self, size: int) -> Lease | None:
        """Room for a body; None where there is none now, or it is too large."""
        count = -(-size // BLOCK_BYTES)
        if not 0 < size <= self.largest or (first := _first_run(self._free, count)) is None:
            return None
        try:
            self._reserve(first + count)
        except OSError as error:
            observe.log().warning("there is no more shared memory for bodies", error=str(error))
            return None
        self._free &= ~_run(first, count)
        return Lease(self, first, count, size)

    @property
    def used(self) -> int:
        """The bytes of all blocks that are leased."""
        return (self._blocks - 1 - self._free.bit_count()) * BLOCK_BYTES

    def _reserve(self, blocks: int) -> None:
        """Without it, a write beyond what the machine has would end the process."""
        if blocks > self._reserved:
            os.posix_fallocate(self._file, self._reserved * BLOCK_BYTES, (blocks - self._reserved) * BLOCK_BYTES)
            self._reserved = blocks

    def memory(self, first: int, size: int) -> memoryview:
        return self._memory[first * BLOCK_BYTES : first * BLOCK_BYTES + size]

    def place(self, first: int, size: int) -> Place:
        return Place(self._id, self._generations[first], first * BLOCK_BYTES, size)

    def take_back(self, first: int, count: int) -> None:
        """Another generation begins before the first byte of it is written."""
        for block in range(first, first + count):
            self._generations[block] += 1
        self._free |= _run(first, count)

    def close(self) -> None:
        """Nobody finds it any more, and nothing has room in it; who has it keeps what is there."""
        self.largest = 0
        (FOLDER / _name(self._id)).unlink(missing_ok=True)
        os.close(self._file)


class _Mapped:
    """A pool as it is read."""

    def __init__(self, name: str) -> None:
        self.name = name
        with (FOLDER / name).open("rb") as file:
            self.view = memoryview(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ))
        self.address = _address(self.view)
        self._generations = self.view[:BLOCK_BYTES].cast("Q")

    def generation(self, place: Place) -> int:
        return self._generations[place.offset // BLOCK_BYTES]

    def has(self, place: Place) -> bool:
        return 0 < place.size <= len(self.view) - place.offset


class Pools:
    """The pools of other processes that were met here."""

    def __init__(self) -> None:
        self._mapped: dict[bytes, _Mapped] = {}

    def body(self, place: Place) -> memoryview:
        """What lies at a place, which may change when it is not held any more; raises NotHere, or InvalidInput."""
        mapped = self._mapped.get(place.pool) or self._map(place.pool)
        if not mapped.has(place):
            raise InvalidInput("the body's place is outside of its pool")
        if mapped.generation(place) != place.generation:
            raise NotHere("the body is not kept any more")
        return mapped.view[place.offset : place.offset + place.size]

    def is_held(self, place: Place) -> bool:
        """Whether all that was read there until now is the body."""
        mapped = self._mapped.get(place.pool)
        return mapped is not None and mapped.generation(place) == place.generation

    def region(self, data: Raw) -> Region | None:
        """Where data lies in a pool; None where it does not."""
        address = _address(data)
        for mapped in self._mapped.values():
            if mapped.address <= address < mapped.address + len(mapped.view):
                return Region(mapped.name, address - mapped.address, len(data))
        return None

    def size(self, name: str) -> int:
        """The bytes of a pool's file; 0 where it is not met, or gone."""
        return next((len(mapped.view) for mapped in self._mapped.values() if mapped.name == name), 0)

    def _map(self, pool: bytes) -> _Mapped:
        for known in [known for known in self._mapped if not (FOLDER / _name(known)).exists()]:
            del self._mapped[known]
        try:
            found = self._mapped[pool] = _Mapped(_name(pool))
        except OSError:
            raise NotHere("the body lies in memory that is not here") from None
        return found


def _name(pool: bytes) -> str:
    return f"{PREFIX}{pool.hex()}"


def _first_run(free: int, count: int) -> int | None:
    """The first of so many free blocks in a row."""
    found, width = free, 1
    while found and width < count:
        step = min(width, count - width)
        found &= found >> step
        width += step
    return (found & -found).bit_length() - 1 if found else None


def _run(first: int, count: int) -> int:
    return ((1 << count) - 1) << first


def _address(data: Raw) -> int:
    found: int = np.frombuffer(data, np.uint8).__array_interface__["data"][0]
    return found


def _create(size: int) -> tuple[bytes, int]:
    """A new file, locked for as long as this process lives; another that sweeps meanwhile may be faster."""
    while True:
        pool = secrets.token_bytes(ID_BYTES)
        path = FOLDER / _name(pool)
        file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600)
        fcntl.flock(file, fcntl.LOCK_EX)
        os.ftruncate(file, size)
        if path.exists():
            return pool, file
        os.close(file)


def _sweep() -> None:
    """Remove what gateways have left behind that were killed."""
    for path in FOLDER.glob(f"{PREFIX}*"):
        for file in _opened(path):
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                path.unlink(missing_ok=True)
            except BlockingIOError:
                continue


def _opened(path: Path) -> Iterator[int]:
    try:
        file = os.open(path, os.O_RDWR)
    except OSError:  # another's, or gone
        return
    try:
        yield file
    finally:
        os.close(file)
