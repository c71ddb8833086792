"""The admin step on real servers: roles, schemas, migrations, streams and consumers."""

from collections.abc import Iterator
from pathlib import Path

import nats
import psycopg
import pytest
from nats.js.errors import NotFoundError

from deploy.embedded.testing_servers import PostgresServer, nats_server, postgres_server
from deploy.provision import DATABASE_SERVICES, provision_bus_over, provision_database, service_url
from shared.streams import STREAMS, SUBJECT_EVENTS, Declaration


@pytest.fixture(scope="class")
def database(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PostgresServer]:
    with postgres_server(tmp_path_factory.mktemp("postgres")) as server:
        yield server


class TestProvisionDatabase:
    PASSWORDS = {"auth": "first", "trainer": "second"}

    @pytest.fixture
    def root(self, tmp_path: Path) -> Path:
        self.migration(tmp_path / "shared", "0001-kit", "CREATE TABLE kit (x int); INSERT INTO kit VALUES (1)")
        self.migration(
            tmp_path / "services" / "auth",
            "0001-kit",
            """-- A function body; its semicolons are its own.
            CREATE FUNCTION twice(x int) RETURNS int LANGUAGE plpgsql AS $$
            BEGIN
                IF x IS NULL THEN RAISE EXCEPTION 'nothing; %', 0; END IF;
                RETURN x * 2;
            END $$;
            DO $body$ BEGIN CREATE TABLE own (x int DEFAULT twice(4)); END $body$;
            INSERT INTO own DEFAULT VALUES;""",
        )
        return tmp_path

    @staticmethod
    def migration(owner: Path, name: str, text: str) -> None:
        (owner / "migrations").mkdir(parents=True, exist_ok=True)
        (owner / "migrations" / f"{name}.sql").write_text(text)

    def connect(self, database: PostgresServer, service: str) -> psycopg.Connection[tuple[object, ...]]:
        return psycopg.connect(service_url(database.dsn, service, self.PASSWORDS[service]))

    def test_it_is_idempotent_and_each_service_has_its_own_tables(self, database: PostgresServer, root: Path) -> None:
        provision_database(database.dsn, self.PASSWORDS, root)
        provision_database(database.dsn, self.PASSWORDS, root)
        with self.connect(database, "auth") as auth, self.connect(database, "trainer") as trainer:
            assert auth.execute("SELECT count(*), current_schema() FROM kit").fetchone() == (1, "auth")
            assert auth.execute("SELECT x FROM own").fetchone() == (8,)
            assert trainer.execute("SELECT current_schema() FROM kit").fetchone() == ("trainer",)

    @pytest.mark.parametrize(
        "statement",
        [
            "SELECT * FROM trainer.kit",
            "CREATE TABLE public.x (x int)",
            "CREATE TEMPORARY TABLE x (x int)",
            "CREATE SCHEMA other",
            "SELECT rolpassword FROM pg_authid",
            "SELECT pg_read_file('/etc/hostname')",
            "ALTER ROLE trainer PASSWORD 'x'",
        ],
    )
    def test_a_service_may_do_nothing_elsewhere(self, database: PostgresServer, root: Path, statement: str) -> None:
        provision_database(database.dsn, self.PASSWORDS, root)
        with self.connect(database, "auth") as auth, pytest.raises(psycopg.errors.InsufficientPrivilege):
            auth.execute(statement)

    def test_other_databases_are_closed(self, database: PostgresServer, root: Path) -> None:
        provision_database(database.dsn, self.PASSWORDS, root)
        other = service_url(database.dsn, "auth", "first").replace("/aimass", "/postgres")
        with pytest.raises(psycopg.OperationalError, match="permission denied"):
            psycopg.connect(other)

    def test_a_migration_is_applied_whole_or_not_at_all(self, database: PostgresServer, root: Path) -> None:
        self.migration(root / "services" / "auth", "0002-half", "CREATE TABLE half (x int); SELECT 1 / 0")
        with pytest.raises(psycopg.errors.DivisionByZero):
            provision_database(database.dsn, self.PASSWORDS, root)
        self.migration(root / "services" / "auth", "0002-half", "CREATE TABLE half (x int)")
        provision_database(database.dsn, self.PASSWORDS, root)

    def test_a_new_password_replaces_the_old_one(self, database: PostgresServer, root: Path) -> None:
        provision_database(database.dsn, self.PASSWORDS, root)
        provision_database(database.dsn, {"auth": "changed"}, root)
        with pytest.raises(psycopg.OperationalError):
            self.connect(database, "auth")

    def test_the_real_migrations_apply_to_every_service(self, tmp_path: Path) -> None:
        passwords = {service: f"password-{service}" for service in DATABASE_SERVICES}
        with postgres_server(tmp_path) as server:
            provision_database(server.dsn, passwords)
            provision_database(server.dsn, passwords)
            for service, password in passwords.items():
                with psycopg.connect(service_url(server.dsn, service, password)) as connection:
                    assert connection.execute("SELECT count(*) FROM outbox").fetchone() == (0,)


async def test_streams_are_provisioned_twice_without_harm(tmp_path: Path) -> None:
    with nats_server(tmp_path) as server:
        await provision_bus_over(server.url, [Declaration("trainer")])
        await provision_bus_over(server.url, [Declaration("trainer")])
        connection = await nats.connect(server.url)
        found = {info.config.name for info in await connection.jetstream().streams_info()}
        with pytest.raises(NotFoundError):
            await connection.jetstream().consumer_info("CMD", "trainer")
        await connection.close()
    assert {stream.name for stream in STREAMS} <= found


async def test_events_that_come_often_leave_room_for_others(tmp_path: Path) -> None:
    """Of each subject the last ones are kept, although a full stream refuses what is new."""
    [events] = [stream for stream in STREAMS if stream.name == "EVT"]
    assert events.max_msgs_per_subject == SUBJECT_EVENTS
    with nats_server(tmp_path) as server:
        connection = await nats.connect(server.url)
        jetstream = connection.jetstream()
        await jetstream.add_stream(events.evolve(max_msgs_per_subject=2))
        for number in range(5):
            await jetstream.publish("evt.default.inference.v1.inference_completed", str(number).encode())
        await jetstream.publish("evt.default.models.v1.version_promoted", b"")
        assert (await jetstream.stream_info("EVT")).state.messages == 3
        assert (await jetstream.get_msg("EVT", 4)).data == b"3"
        await connection.close()
