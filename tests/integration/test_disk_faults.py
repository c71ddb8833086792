"""A disk that is full or loses power: nothing is half kept, and nothing acknowledged before it is on the disk."""

import asyncio
import os
import re
import shutil
import subprocess
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import nats as nats_client
import psycopg
import pytest
from nats.js.api import StreamConfig

from deploy.bus import plan_bus, provision_bus
from deploy.embedded.servers import BusUser
from deploy.embedded.stack import Stack
from deploy.embedded.testing_servers import NatsServer, PostgresServer, started
from shared.artifacts import Artifacts, digest_of
from shared.errors import DigestMismatch, Unavailable
from shared.settings import ServiceSettings
from shared.streams import SERVICES
from tests.integration.counted import HANDLERS, Pace, prepare, said, say
from tests.integration.running import Running, running, until

MIB = 1024 * 1024
ROW = "INSERT INTO t SELECT string_agg(md5(random()::text), '') FROM generate_series(1, 30000)"
SYSCALLS = "fsync,fdatasync,write,writev,sendto"
EVENTS = 3
FILLER = "filler"
STREAM = StreamConfig(name="S", subjects=["s.>"], max_bytes=MIB, duplicate_window=120)


def mounted(folder: Path, mib: int) -> bool:
    folder.mkdir(mode=0o700)
    command = ["mount", "-t", "tmpfs", "-o", f"size={mib}m,mode=700", "none", str(folder)]
    return subprocess.run(command, capture_output=True).returncode == 0


@pytest.fixture
def small(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Path]:
    """A file system of as many MiB as the test says."""
    folder = tmp_path / "small"
    if not mounted(folder, request.param):
        pytest.skip("a file system of its own may not be mounted here: run it as root")
    yield folder
    subprocess.run(["umount", "--lazy", str(folder)], check=True)


@pytest.mark.parametrize("small", [2], indirect=True)
async def test_an_artifact_that_does_not_fit_leaves_nothing(small: Path) -> None:
    artifacts = Artifacts(f"file://{small}")
    first = await artifacts.put(b"1" * MIB)
    with pytest.raises(Unavailable, match="may be full"):
        await artifacts.put(b"2" * (2 * MIB))
    assert [kept.digest async for kept in artifacts.kept()] == [first]
    assert await artifacts.find(digest_of(b"2" * (2 * MIB))) is None
    assert await artifacts.get(first) == b"1" * MIB
    await artifacts.delete(first)
    await artifacts.put(b"2" * MIB)


@pytest.mark.parametrize("small", [192], indirect=True)
def test_a_database_without_space_refuses_and_goes_on(small: Path) -> None:
    server = PostgresServer(small / "postgres")
    with started(server), psycopg.connect(server.dsn, autocommit=True) as connection:
        connection.execute("CREATE TABLE t (x text)")
        connection.execute("INSERT INTO t VALUES ('kept')")
        filler = small / "filler"
        with filler.open("wb") as file:
            file.truncate(0)
            file.write(b"\0" * (shutil.disk_usage(small).free - 4 * MIB))
        with pytest.raises(psycopg.errors.DiskFull):
            for _ in range(100):
                connection.execute(ROW)
        assert connection.execute("SELECT count(*) FROM t WHERE x = 'kept'").fetchone() == (1,)
        filler.unlink()
        connection.execute(ROW)


@pytest.mark.parametrize("small", [64], indirect=True)
async def test_a_bus_whose_disk_is_full_refuses_and_goes_on(
    small: Path, settings_of: Callable[[str], ServiceSettings]
) -> None:
    """What it acknowledged it holds; what it refused waits in the outbox, and is published once there is space.

    NATS may switch its storage off when a write fails: it is started again then, as its operator would.
    """
    users = {service: BusUser("password") for service in SERVICES}
    server = NatsServer(small / "nats", users)
    with started(server):
        settings = settings_of("registry").model_copy(update={"nats_url": server.servers})
        async with running(HANDLERS, Pace(), settings, server) as registry:
            await prepare(registry)
            await say(registry, "before")
            await until(registry._outbox_is_empty)
            filler = filled(small)
            tasks = [f"t{number}" for number in range(40)]
            await say(registry, *tasks)

            async def refused() -> bool:
                return bool(await registry.rows("SELECT 1 FROM outbox WHERE published_at IS NULL AND last_error <> ''"))

            await until(refused)
            filler.unlink()
            if not await healed(registry):
                print("NATS had switched its storage off and was started again")
                server.stop()
                server.start()
            told = await said(registry)
            assert sorted(set(told)) == sorted(["before", *tasks])
            assert await registry.rows("SELECT 1 FROM outbox WHERE dead_at IS NOT NULL") == []


@pytest.mark.parametrize("small", [64], indirect=True)
async def test_a_change_of_a_stream_that_a_full_disk_refused_is_kept_once_there_is_space(small: Path) -> None:
    """The bus tells of it as if it were made, and has forgotten it when it starts anew."""
    server = NatsServer(small / "nats")
    wanted = STREAM.evolve(max_bytes=2 * MIB)
    with started(server):
        await provision_bus(server.url, [], [STREAM])
        filler = filled(small)
        with pytest.raises(nats_client.js.errors.APIError):
            await provision_bus(server.url, [], [wanted])
        assert not (await plan_bus(server.url, [], [wanted])).changes
        filler.unlink()
        await provision_bus(server.url, [], [wanted])
        server.stop()
        server.start()
        assert not (await plan_bus(server.url, [], [wanted])).changes


def filled(folder: Path) -> Path:
    """A file that takes all the space there is."""
    filler = folder / FILLER
    with filler.open("ab", buffering=0) as file, suppress(OSError):
        while True:
            file.write(b"\0" * 4096)
    return filler


async def healed(registry: Running, seconds: float = 10.0) -> bool:
    """Whether all is published without help."""
    try:
        await until(registry._outbox_is_empty, seconds)
    except TimeoutError:
        return False
    return True


async def test_a_flipped_bit_is_found_however_it_is_read(tmp_path: Path) -> None:
    artifacts = Artifacts(f"file://{tmp_path}/artifacts")
    content = b"1" * MIB
    digest = await artifacts.put(content)
    file = tmp_path / "artifacts" / digest
    file.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    with pytest.raises(DigestMismatch):
        await artifacts.get(digest)
    with pytest.raises(DigestMismatch):
        await artifacts.get_file(digest, tmp_path / "copy")
    assert not (tmp_path / "copy").exists()


async def test_the_bus_acknowledges_after_its_disk_has_it(nats: NatsServer, tmp_path: Path) -> None:
    """As the system calls of the server tell: between a message and its acknowledgement lies a sync of its file."""
    strace = shutil.which("strace")
    if strace is None:
        pytest.skip("strace is not installed here")
    connection = await nats_client.connect(nats.url)
    await connection.jetstream().add_stream(StreamConfig(name="S", subjects=["s"]))
    trace = tmp_path / "trace"
    command = [strace, "-f", "-e", f"trace={SYSCALLS}", "-s", "200", "-o", str(trace), "-p", str(nats.pid)]
    with subprocess.Popen(command, stderr=subprocess.PIPE) as tracer:
        assert tracer.stderr is not None
        if b"attached" not in tracer.stderr.readline():
            pytest.skip("a process may not be traced here")
        for _ in range(EVENTS):
            await connection.jetstream().publish("s", b"x" * 100)
        tracer.terminate()
    await connection.close()
    assert synced_before_each_answer(trace.read_text()) == [True] * EVENTS


def synced_before_each_answer(trace: str) -> list[bool]:
    """For each acknowledgement, whether a sync ended since the one before."""
    found, synced = [], False
    for line in trace.splitlines():
        synced |= bool(re.search(r"(fsync|fdatasync)(\(\d+\)| resumed>.*) += 0", line))
        if r"\"stream\":\"S\"" in line or r'"stream":"S"' in line:
            found.append(synced)
            synced = False
    return found


async def ill(stack: Stack, store: Path) -> list[bytes]:
    """Write to the bus until its disk is full and it says that it is ill; what it had acknowledged then."""
    bus = await nats_client.connect(stack.info["nats"])
    js = bus.jetstream(timeout=1)
    await js.add_stream(StreamConfig(name="KEPT", subjects=["kept"]))
    acknowledged = []
    try:
        async with asyncio.timeout(60):
            while stack.is_ready("nats"):
                filled(store)
                body = os.urandom(65536)
                with suppress(nats_client.errors.Error, nats_client.js.errors.Error):
                    await js.publish("kept", body)
                    acknowledged.append(body)
    finally:
        (store / FILLER).unlink(missing_ok=True)
        await bus.close()
    return acknowledged


async def kept(stack: Stack, count: int) -> list[bytes | None]:
    """The first messages, from a bus that takes another one."""
    bus = await nats_client.connect(stack.info["nats"])
    js = bus.jetstream()
    found = [(await js.get_msg("KEPT", seq=place + 1)).data for place in range(count)]
    await js.publish("kept", b"after")
    await bus.close()
    return found


def test_a_bus_that_has_switched_its_storage_off_is_started_anew_once_there_is_space(tmp_path: Path) -> None:
    home = tmp_path / "home"
    store = home / "nats" / "store"
    store.parent.mkdir(mode=0o700, parents=True)
    if not mounted(store, 64):
        pytest.skip("a file system of its own may not be mounted here: run it as root")
    stack = Stack(home, parts=["nats"], say=lambda line: None)
    try:
        stack.up()
        before = stack.pid("nats")
        acknowledged = asyncio.run(ill(stack, store))
        stack.wait_ready(["nats"], seconds=60)
        assert stack.pid("nats") != before
        assert asyncio.run(kept(stack, len(acknowledged))) == acknowledged
    finally:
        stack.down()
        subprocess.run(["umount", "--lazy", str(store)], check=True)
