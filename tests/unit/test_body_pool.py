"""Bodies in shared memory: leases never overlap, and what is written anew is not trusted by who read the old."""

import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shared import body_pool
from shared.body_pool import BLOCK_BYTES, FOLDER, PREFIX, BodyPool, Lease, NotHere, Place, Pools
from shared.errors import InvalidInput
from shared.oip import Region

BLOCKS = 33
HOLD = """
import sys
from shared.body_pool import BodyPool
pool = BodyPool(1024 * 1024)
print(pool.lease(1).place(1).pool.hex(), flush=True)
sys.stdin.read()
"""


@pytest.fixture
def pool() -> Iterator[BodyPool]:
    found = BodyPool(BLOCKS * BLOCK_BYTES)
    yield found
    found.close()


def keep(pool: BodyPool, body: bytes) -> tuple[Lease, Place]:
    lease = pool.lease(len(body))
    assert lease is not None
    lease.view[:] = body
    return lease, lease.place(len(body))


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.integers(1, 9 * BLOCK_BYTES), st.integers(0, 9)), max_size=60))
def test_each_body_is_read_as_it_was_written_while_it_is_held(steps: list[tuple[int, int]]) -> None:
    pool, pools = BodyPool(BLOCKS * BLOCK_BYTES), Pools()
    held: list[tuple[Lease, Place, bytes]] = []
    gone: list[Place] = []
    for number, (size, end) in enumerate(steps):
        body = number.to_bytes(2) * (size // 2) + b"!" * (size % 2)
        lease = pool.lease(size)
        if lease is not None:
            lease.view[:] = body
            held.append((lease, lease.place(size), body))
        if end < len(held):
            lease, place, _ = held.pop(end)
            lease.release()
            gone.append(place)
        assert all(pools.body(place) == body and pools.is_held(place) for _, place, body in held)
        assert not any(pools.is_held(place) for place in gone)
    assert pool.used == sum(-(-len(body) // BLOCK_BYTES) * BLOCK_BYTES for _, _, body in held)
    pool.close()


def test_there_is_room_for_so_much_and_no_more(pool: BodyPool) -> None:
    assert pool.lease(pool.largest + 1) is None
    assert pool.lease(0) is None
    leases = [found for _ in range(BLOCKS) if (found := pool.lease(BLOCK_BYTES)) is not None]
    assert (len(leases), pool.lease(1)) == (BLOCKS - 1, None)
    for lease in leases[1::2]:
        lease.release()
    assert pool.lease(BLOCK_BYTES + 1) is None
    for lease in leases:
        lease.release()
    assert pool.used == 0


def test_who_has_read_what_is_given_up_knows_it(pool: BodyPool) -> None:
    pools, (lease, place) = Pools(), keep(pool, b"first")
    read = pools.body(place)
    assert (bytes(read), pools.is_held(place)) == (b"first", True)
    lease.release()
    assert not pools.is_held(place)
    other, new = keep(pool, b"other")
    assert (new.offset, bytes(read), pools.is_held(place), pools.is_held(new)) == (place.offset, b"other", False, True)
    with pytest.raises(NotHere):
        pools.body(place)
    with pytest.raises(ValueError, match="released"):
        lease.view[:] = b"third"
    lease.release()
    assert bytes(pools.body(new)) == b"other"
    other.release()


def test_the_region_of_data_is_where_it_lies(pool: BodyPool) -> None:
    pools, (lease, place) = Pools(), keep(pool, bytes(100))
    name = f"{PREFIX}{place.pool.hex()}"
    assert pools.region(pools.body(place)[10:30]) == Region(name, place.offset + 10, 20)
    assert pools.region(b"elsewhere") is None
    assert (pools.size(name), pools.size("another")) == (BLOCKS * BLOCK_BYTES, 0)
    lease.release()


@pytest.mark.parametrize("wrong", [{"offset": BLOCKS * BLOCK_BYTES - 1}, {"size": 2**32 - 1}, {"size": 0}])
def test_a_place_outside_of_its_pool_is_refused(pool: BodyPool, wrong: dict[str, int]) -> None:
    _, place = keep(pool, b"body")
    with pytest.raises(InvalidInput):
        Pools().body(place._replace(**wrong))


def test_places_travel_as_bytes(pool: BodyPool) -> None:
    _, place = keep(pool, b"body")
    assert Place.decode(memoryview(place.encode())) == place
    with pytest.raises(InvalidInput):
        Place.decode(place.encode()[:-1])


def test_what_is_not_on_this_machine_is_not_here() -> None:
    pool = BodyPool(BLOCKS * BLOCK_BYTES)
    _, place = keep(pool, b"body")
    with pytest.raises(NotHere):
        Pools().body(place._replace(pool=bytes(16)))
    pool.close()
    assert pool.lease(1) is None
    with pytest.raises(NotHere):
        Pools().body(place)


def test_a_new_pool_takes_away_those_of_the_dead_alone(pool: BodyPool) -> None:
    ours = FOLDER / f"{PREFIX}{keep(pool, b'1')[1].pool.hex()}"
    other = subprocess.Popen([sys.executable, "-c", HOLD], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert other.stdin and other.stdout
    with other:
        theirs = FOLDER / f"{PREFIX}{other.stdout.readline().strip()}"
        BodyPool(BLOCK_BYTES * 2).close()
        assert (ours.exists(), theirs.exists()) == (True, True)
        other.send_signal(signal.SIGKILL)
        other.wait()
        assert theirs.exists()
        BodyPool(BLOCK_BYTES * 2).close()
        assert (ours.exists(), theirs.exists()) == (True, False)


def test_pools_that_are_gone_are_let_go_when_another_is_met(pool: BodyPool) -> None:
    pools, old = Pools(), BodyPool(BLOCKS * BLOCK_BYTES)
    _, place = keep(old, b"old")
    read = pools.body(place)
    old.close()
    assert (bytes(read), pools.is_held(place)) == (b"old", True)
    pools.body(keep(pool, b"new")[1])
    assert not pools.is_held(place)
    assert pools.size(f"{PREFIX}{place.pool.hex()}") == 0


def test_memory_is_taken_as_it_is_needed_and_only_while_there_is_some(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    small = tmp_path / "small"
    small.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", f"size={8 * BLOCK_BYTES}", "none", str(small)]
    if subprocess.run(command, capture_output=True).returncode:
        pytest.skip("a file system of its own may not be mounted here: run it as root")
    try:
        monkeypatch.setattr(body_pool, "FOLDER", small)
        pool = BodyPool(64 * BLOCK_BYTES)
        leases = []
        while (lease := pool.lease(BLOCK_BYTES)) is not None:
            lease.view[:] = np.ones(BLOCK_BYTES, np.uint8).tobytes()
            leases.append(lease)
        assert len(leases) == 7
        leases[0].release()
        assert pool.lease(BLOCK_BYTES) is not None
        (small / "full").write_bytes(b"")
        with pytest.raises(OSError, match="No space"):
            BodyPool(64 * BLOCK_BYTES)
        assert len(list(small.iterdir())) == 2
    finally:
        subprocess.run(["umount", "--lazy", str(small)], check=True)
