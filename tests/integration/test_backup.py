"""A backup that is taken while keys are made and artifacts come and go, put back elsewhere, and compared."""

import asyncio
import os
import shutil
import stat
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

import httpx
import nats
import psycopg
import pytest

from deploy.backup import manifest as manifests
from deploy.backup.__main__ import main
from deploy.backup.errors import BackupFailed
from deploy.backup.making import Making
from deploy.backup.manifest import PARTIAL, Manifest
from deploy.backup.restoring import Restoring, checked
from deploy.embedded.stack import Stack, StackError
from shared.artifacts import Artifacts, digest_of
from shared.streams import CREDENTIALS
from tests.house import House, until

PARTS = ("nats", "postgres", "auth", "monitor", "gateway")
CREATED = "SELECT data->>'key_id' AS id FROM timeline WHERE type LIKE '%.ApiKeyCreated'"
UNPUBLISHED = "SELECT 1 FROM outbox WHERE published_at IS NULL"
AUDITED = "SELECT subject FROM audit WHERE type LIKE '%ApiKeyCreated'"


@dataclass
class Load:
    """Makes keys, and an artifact that replaces the one before as checkpoints do, until it is stopped."""

    house: House
    acknowledged: dict[str, float] = field(default_factory=dict)
    secrets: dict[str, str] = field(default_factory=dict)
    failed: list[BaseException] = field(default_factory=list)
    ended: threading.Event = field(default_factory=threading.Event)

    def make_key(self) -> str:
        """Ask until it is acknowledged: on a busy machine the answer may be to come back later."""

        def answered() -> httpx.Response | None:
            response = self.house.http.post("/api/v1/api-keys", json={"name": "load", "roles": ["viewer"]})
            return None if response.status_code == 503 else response

        made = until(answered, what="a key to be made")
        assert made.status_code == 201, made.text
        key = made.json()
        self.acknowledged[key["id"]] = time.time()
        self.secrets[key["id"]] = key["secret"]
        return str(key["id"])

    def replace_artifact(self) -> None:
        """As the trainer does: keep the new one, name it, delete the old one."""
        store = Artifacts((self.house.stack.home.path / "artifacts").as_uri())
        with psycopg.connect(self.house.stack.info["postgres"], autocommit=True) as database:
            before = database.execute("SELECT digest FROM named").fetchone()
            digest = asyncio.run(store.put(os.urandom(20_000)))
            with database.transaction():
                database.execute("DELETE FROM named")
                database.execute("INSERT INTO named VALUES (%s)", (digest,))
            if before:
                asyncio.run(store.delete(before[0]))

    def repeat(self, act: Callable[[], Any]) -> threading.Thread:
        def run() -> None:
            try:
                while not self.ended.wait(0.01):
                    act()
            except BaseException as error:
                self.failed.append(error)

        thread = threading.Thread(target=run)
        thread.start()
        return thread


@dataclass
class Taken:
    """A backup and what was acknowledged before it began."""

    folder: Path
    load: Load
    before: set[str]
    revoked: str

    @property
    def manifest(self) -> Manifest:
        return manifests.read(self.folder)


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    stack = Stack(tmp_path_factory.mktemp("kept") / "home", parts=PARTS)
    try:
        stack.up()
        yield House(stack)
    finally:
        stack.down()


@pytest.fixture(scope="module")
def taken(house: House, tmp_path_factory: pytest.TempPathFactory) -> Taken:
    """Taken under load, and while a backup that was killed lies beside it."""
    with psycopg.connect(house.stack.info["postgres"]) as database:
        database.execute("CREATE TABLE monitor.named (digest text)")
        database.execute("ALTER ROLE aimass SET search_path = monitor")
    load = Load(house)
    revoked = load.make_key()
    assert house.http.delete(f"/api/v1/api-keys/{revoked}").status_code < 300
    load.make_key()
    running = [load.repeat(load.make_key), load.repeat(load.replace_artifact)]
    time.sleep(1)
    left = tmp_path_factory.mktemp("backups")
    (left / f".aimass-20200101T000000Z{PARTIAL}").mkdir()
    folder = Making(house.stack, left).make()
    load.ended.set()
    for thread in running:
        thread.join()
    assert load.failed == []
    began = datetime.fromisoformat(manifests.read(folder).began_at).timestamp()
    return Taken(folder, load, {key for key, at in load.acknowledged.items() if at < began} - {revoked}, revoked)


def aged(taken: Taken, folder: Path) -> Path:
    """The backup as it is after a while: the bus does not know any more which messages it has taken."""
    copy, manifest = copied(taken, folder), taken.manifest
    for stream in manifest.streams.values():
        stream.config["duplicate_window"] = 100_000_000
    manifest.write(copy)
    return copy


@pytest.fixture(scope="module")
def restored(taken: Taken, tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    stack = Stack(tmp_path_factory.mktemp("restored") / "home", parts=PARTS)
    stack.home.folder("old")
    (stack.home.path.parent / "home.restoring" / "left").mkdir(parents=True)
    Restoring(aged(taken, tmp_path_factory.mktemp("aged")), stack).restore(replace=True)
    try:
        stack.up()
        house = House(stack)
        until(
            lambda: not house.rows("auth", "SELECT 1 FROM outbox WHERE published_at IS NULL"),
            what="the outbox to drain",
        )
        until(lambda: asyncio.run(pending(house)) == 0, what="monitor to hear all of it")
        yield house
    finally:
        stack.down()


async def pending(house: House) -> int:
    """What monitor has still to hear or to acknowledge."""
    connection = await nats.connect(house.stack.info["nats"])
    info = await connection.jetstream().consumer_info("EVT", "monitor")
    await connection.close()
    return (info.num_pending or 0) + (info.num_ack_pending or 0)


async def said(house: House) -> Counter[str]:
    """How often each event is in the stream."""
    connection = await nats.connect(house.stack.info["nats"])
    subscription = await connection.jetstream().subscribe("evt.>", ordered_consumer=True)
    count = (await connection.jetstream().stream_info("EVT")).state.messages
    found = [await subscription.next_msg(60) for _ in range(count)]
    await connection.close()
    return Counter((message.headers or {})["ce-id"] for message in found)


async def last(house: House, stream: str) -> int:
    connection = await nats.connect(house.stack.info["nats"])
    info = await connection.jetstream().stream_info(stream)
    await connection.close()
    return int(info.state.last_seq)


async def credentials(house: House) -> set[str]:
    connection = await nats.connect(house.stack.info["nats"])
    found = set(await (await connection.jetstream().key_value(CREDENTIALS)).keys())
    await connection.close()
    return found


def copied(taken: Taken, folder: Path) -> Path:
    return Path(shutil.copytree(taken.folder, folder / taken.folder.name))


class TestRestored:
    def test_what_was_there_before_lies_beside_it(self, restored: House) -> None:
        home = restored.stack.home.path
        assert [(path / "old").is_dir() for path in home.parent.glob("home.before-*")] == [True]
        assert {path.name for path in home.parent.iterdir() if "before" not in path.name} == {"home"}

    def test_all_that_was_acknowledged_before_is_there(self, restored: House, taken: Taken) -> None:
        there = {row["id"] for row in restored.rows("auth", "SELECT id FROM api_keys")}
        assert taken.before
        assert taken.before <= there
        key = min(taken.before)
        assert restored.client(taken.load.secrets[key]).get("/api/v1/me").status_code == 200
        assert restored.client(taken.load.secrets[taken.revoked]).get("/api/v1/me").status_code == 401

    def test_events_after_the_streams_come_again_and_repeats_have_one_effect(
        self, restored: House, taken: Taken
    ) -> None:
        """Some are in no stream that was kept; others are, and are there twice now."""
        assert taken.manifest.streams["EVT"].given > taken.manifest.streams["EVT"].last
        assert max(asyncio.run(said(restored)).values()) == 2
        keys = {row["id"]: 1 for row in restored.rows("auth", "SELECT id FROM api_keys")}
        assert Counter(row["id"] for row in restored.rows("monitor", CREATED)) == keys
        assert Counter(Counter(row["subject"] for row in restored.rows("monitor", AUDITED)).values()) == {1: len(keys)}
        assert restored.get("audit/verification")["intact"]
        assert restored.get("dead-letters")["letters"] == []

    def test_the_bus_gives_no_number_twice(self, restored: House, taken: Taken) -> None:
        for name, stream in taken.manifest.streams.items():
            assert name.startswith("KV_") or asyncio.run(last(restored, name)) >= stream.given

    def test_credentials_are_those_of_the_database(self, restored: House) -> None:
        rows = restored.rows("auth", "SELECT digest FROM api_keys WHERE revoked_at IS NULL")
        digests = {row["digest"] for row in rows}
        assert digests <= asyncio.run(credentials(restored))
        revoked = restored.rows("auth", "SELECT digest FROM api_keys WHERE revoked_at IS NOT NULL")
        assert not {row["digest"] for row in revoked} & asyncio.run(credentials(restored))

    def test_artifacts_that_the_database_names_are_there(self, restored: House) -> None:
        named = restored.rows("monitor", "SELECT digest FROM named")
        for path in (restored.stack.home.path / "artifacts").iterdir():
            assert path.is_dir() or digest_of(path.read_bytes()) == path.name
        assert [(restored.stack.home.path / "artifacts" / row["digest"]).is_file() for row in named] == [True]

    def test_it_goes_on(self, restored: House) -> None:
        load = Load(restored)
        key = load.make_key()
        until(lambda: restored.client(load.secrets[key]).get("/api/v1/me").status_code == 200, what="the key to count")
        until(lambda: key in {row["id"] for row in restored.rows("monitor", CREATED)}, what="its event to be heard")


class TestBackup:
    def test_it_is_its_owners_alone(self, taken: Taken) -> None:
        assert stat.S_IMODE(taken.folder.stat().st_mode) == 0o700
        assert all(path.is_dir() or not path.stat().st_mode & 0o077 for path in taken.folder.rglob("*"))

    def test_what_a_killed_one_left_is_gone_and_was_never_one(self, taken: Taken) -> None:
        assert [path.name for path in taken.folder.parent.iterdir()] == [taken.folder.name]

    @pytest.mark.usefixtures("taken")
    def test_artifacts_are_let_go_afterwards(self, house: House) -> None:
        store = Artifacts((house.stack.home.path / "artifacts").as_uri())
        digest = asyncio.run(store.put(b"of nobody"))
        asyncio.run(store.delete(digest))
        assert asyncio.run(store.find(digest)) is None

    def test_the_next_one_links_artifacts_and_old_ones_go_if_asked(self, house: House, tmp_path: Path) -> None:
        digest = asyncio.run(Artifacts((house.stack.home.path / "artifacts").as_uri()).put(b"linked"))
        first, second = (Making(house.stack, tmp_path / "kept").make() for _ in range(2))
        assert (first / "artifacts" / digest).samefile(second / "artifacts" / digest)
        (first / manifests.NAME).write_text("rotten")
        assert manifests.backups(tmp_path / "kept") == [first, second]
        third = Making(house.stack, tmp_path / "kept").make(keep=1)
        assert manifests.backups(tmp_path / "kept") == [first, third], "what cannot be read is nobody's to remove"
        assert (checked(third).files)[f"artifacts/{digest}"].sha256 == digest

    def test_an_altered_artifact_is_said_and_left_out(self, house: House, tmp_path: Path) -> None:
        rotten = house.stack.home.path / "artifacts" / digest_of(b"sound")
        rotten.write_bytes(b"rotten")
        try:
            with pytest.raises(BackupFailed, match=rotten.name):
                Making(house.stack, tmp_path).make()
        finally:
            rotten.unlink()
        assert [checked(path).left_out for path in manifests.backups(tmp_path)] == [[f"artifacts/{rotten.name}"]]

    def test_a_stack_that_does_not_run_has_none(self, tmp_path: Path) -> None:
        with pytest.raises(StackError, match="no stack runs"):
            Making(Stack(tmp_path / "nothing"), tmp_path).make()

    def test_it_does_not_lie_in_what_it_keeps(self, house: House) -> None:
        with pytest.raises(BackupFailed, match="lies in the state folder"):
            Making(house.stack, house.stack.home.path / "backups").make()


class TestRefusals:
    def test_a_home_that_runs(self, house: House, taken: Taken) -> None:
        with pytest.raises(BackupFailed, match="stop it first"):
            Restoring(taken.folder, house.stack).restore(replace=True)

    def test_a_home_that_is_not_empty(self, taken: Taken, tmp_path: Path) -> None:
        (tmp_path / "home").mkdir()
        (tmp_path / "home" / "secrets.json").write_text("{}")
        with pytest.raises(BackupFailed, match="--replace"):
            Restoring(taken.folder, Stack(tmp_path / "home")).restore()

    @pytest.mark.parametrize("name", ["streams/EVT", "postgres/base.tar.gz", "home/secrets.json"])
    def test_a_flipped_bit_names_its_file(self, taken: Taken, tmp_path: Path, name: str) -> None:
        path = copied(taken, tmp_path) / name
        content = bytearray(path.read_bytes())
        content[len(content) // 2] ^= 1
        path.write_bytes(content)
        with pytest.raises(BackupFailed, match=f"{name} was altered"):
            Restoring(tmp_path / taken.folder.name, Stack(tmp_path / "home")).restore()
        assert not (tmp_path / "home").exists()

    def test_missing_and_added_files(self, taken: Taken, tmp_path: Path) -> None:
        folder = copied(taken, tmp_path)
        (folder / "streams" / "EVT").rename(folder / "streams" / "OTHER")
        with pytest.raises(BackupFailed, match=r"streams/EVT is missing\n  streams/OTHER is not of this backup"):
            checked(folder)

    def test_an_altered_manifest(self, taken: Taken, tmp_path: Path) -> None:
        folder = copied(taken, tmp_path)
        text = (folder / manifests.NAME).read_text()
        (folder / manifests.NAME).write_text(text.replace('"format": 1', '"format": 2'))
        with pytest.raises(BackupFailed, match="manifest.json was altered"):
            checked(folder)

    def test_one_of_a_newer_version(self, taken: Taken, tmp_path: Path) -> None:
        folder = copied(taken, tmp_path)
        newer = taken.manifest
        newer.migrations["auth"].append("auth/9999-later")
        newer.write(folder)
        with pytest.raises(BackupFailed, match="newer version.*\n  auth: auth/9999-later"):
            checked(folder)

    def test_half_ones_and_what_is_none(self, taken: Taken, tmp_path: Path) -> None:
        half = copied(taken, tmp_path)
        (half / manifests.NAME).unlink()
        with pytest.raises(BackupFailed, match="is no backup"):
            checked(half)
        with pytest.raises(BackupFailed, match="was not finished"):
            checked(half.rename(tmp_path / f".half{PARTIAL}"))
        with pytest.raises(BackupFailed, match=f"holds the backups {taken.folder.name}"):
            checked(taken.folder.parent)

    @pytest.mark.usefixtures("kept_umask")
    @pytest.mark.parametrize(
        "arguments", [["restore", "{nothing}", "--home", "{nothing}"], ["backup", "--home", "{nothing}"]]
    )
    def test_the_command_line_says_what_is_wrong(
        self, arguments: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        given = [argument.format(nothing=tmp_path / "nothing") for argument in arguments]
        monkeypatch.setattr("sys.argv", ["backup", *given])
        with pytest.raises(SystemExit, match="nothing"):
            main()

    @pytest.mark.usefixtures("kept_umask")
    def test_the_command_line_looks_at_a_backup(
        self, taken: Taken, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
    ) -> None:
        monkeypatch.setattr("sys.argv", ["backup", "restore", "--check", str(taken.folder)])
        main()
        assert f"{taken.folder} can be put back" in capsys.readouterr().out
