"""docker-compose.yml is fresh, valid, complete, and holds no secret; every setting it names exists."""

import asyncio
import json
import re
import subprocess
from collections.abc import Iterator
from importlib import import_module
from importlib.metadata import packages_distributions
from importlib.resources import files
from pathlib import Path
from typing import Any

import jsonschema
import nats
import nats.errors
import pytest
import yaml
from dotenv import dotenv_values

from deploy.admin import AdminSettings
from deploy.compose import document, secrets
from deploy.embedded.servers import BusUser
from deploy.embedded.testing_servers import NatsServer, PostgresServer, nats_server, postgres_server
from deploy.extension import EXTENSION, STREAM
from deploy.provision import provision_bus
from shared.settings import ServiceSettings
from shared.streams import SERVICES
from tests.contract.tree import BIN, ROOT

FILE = ROOT / "docker-compose.yml"
COMPOSE: dict[str, Any] = yaml.safe_load(FILE.read_text())
CONTAINERS: dict[str, Any] = COMPOSE["services"]
IMAGES = ROOT / "deploy" / "images"
LOCK = ROOT / "requirements.lock"
SCHEMA = files("check_jsonschema") / "builtin_schemas" / "vendor" / "compose-spec.json"
each_service = pytest.mark.parametrize("service", SERVICES)


@pytest.fixture(scope="module")
def environment(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """What .env holds, as Docker Compose reads it."""
    path = tmp_path_factory.mktemp("compose") / ".env"
    secrets.write(path)
    assert path.stat().st_mode & 0o777 == 0o600
    return {name: value or "" for name, value in dotenv_values(path, interpolate=False).items()}


def settings_class(service: str) -> type[ServiceSettings]:
    found: type[ServiceSettings] = import_module(f"services.{service}.settings").Settings
    return found


def mounted(container: str, environment: dict[str, str], folder: Path) -> Path:
    """The container's /run/secrets."""
    for name in CONTAINERS[container]["secrets"]:
        (folder / name).write_text(environment[COMPOSE["secrets"][name]["environment"]])
    return folder


def test_it_is_fresh() -> None:
    assert FILE.read_text() == document.text(), "run ./justw docs and commit docker-compose.yml"


def test_it_keeps_the_compose_specification() -> None:
    jsonschema.validate(COMPOSE, json.loads(SCHEMA.read_text()))


def test_it_runs_every_part() -> None:
    assert set(CONTAINERS) == {"nats", "postgres", "triton", "provision", *SERVICES}
    year, month = map(int, re.findall(r"tritonserver:(\d+)\.(\d+)-py3", CONTAINERS["triton"]["image"])[0])
    assert (year, month) >= (25, 7)
    assert CONTAINERS["postgres"]["image"] == "pgvector/pgvector:pg18"


@each_service
def test_every_variable_is_a_setting_and_its_value_is_taken(
    service: str, environment: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    given = CONTAINERS[service]["environment"]
    kind, prefix = settings_class(service), f"{service}_"
    named = [name.lower() for name in (*given, *CONTAINERS[service]["secrets"])]
    assert {name.removeprefix(prefix) for name in named if name.startswith(prefix)} <= set(kind.model_fields)
    assert all(name.startswith(prefix) for name in named)
    for name, value in given.items():
        monkeypatch.setenv(name, str(value))
    found = kind(_secrets_dir=mounted(service, environment, tmp_path))
    assert found.nats_password.get_secret_value() == environment[f"{service.upper()}_NATS_PASSWORD"]
    assert found.database_url.get_secret_value() == environment.get(f"{service.upper()}_DATABASE_URL", "")


def test_nothing_starts_without_its_secrets(environment: dict[str, str]) -> None:
    asked = {secret["environment"] for secret in COMPOSE["secrets"].values()}
    assert asked <= set(environment)
    assert all(re.search(r"AIMASS_VERSION:\?", CONTAINERS[name]["image"]) for name in ("provision", *SERVICES))
    assert all(set(secret) == {"environment"} for secret in COMPOSE["secrets"].values())


def test_secrets_are_random_kept_and_nowhere_in_the_file(environment: dict[str, str]) -> None:
    made = [environment[name] for name in secrets.RANDOM]
    assert len(set(made)) == len(made)
    assert all(len(value) == 48 for value in made)
    assert not any(value in FILE.read_text() for value in made)
    again = secrets.environment(environment)
    assert again == environment
    assert secrets.environment({})["POSTGRES_PASSWORD"] != environment["POSTGRES_PASSWORD"]


def test_the_bus_takes_its_configuration(environment: dict[str, str], tmp_path: Path) -> None:
    config = json.loads(environment["NATS_CONFIG"])
    assert {user["user"] for user in config["authorization"]["users"]} == {"admin", EXTENSION, *SERVICES}
    assert all("permissions" in user for user in config["authorization"]["users"] if user["user"] != "admin")
    config["jetstream"]["store_dir"] = str(tmp_path)
    (tmp_path / "nats_config").write_text(json.dumps(config))
    command = [str(BIN / "nats-server"), "-t", "--config", str(tmp_path / "nats_config")]
    assert subprocess.run(command, capture_output=True).returncode == 0


def test_only_the_gateway_is_reached_from_outside_and_only_inference_reaches_triton() -> None:
    published = {name: container["ports"] for name, container in CONTAINERS.items() if "ports" in container}
    assert list(published) == ["gateway"]
    assert all(port.startswith("127.0.0.1:") for port in published["gateway"])
    assert {name for name, c in CONTAINERS.items() if "triton" in c["networks"]} == {"triton", "inference"}
    assert CONTAINERS["triton"]["networks"] == ["triton"]


def test_the_gateway_finds_the_ops_port_of_every_service() -> None:
    """By the container's name, on a network that both are on, where that service listens."""
    urls = json.loads(CONTAINERS["gateway"]["environment"]["GATEWAY_OPS_URLS"])
    assert set(urls) == set(SERVICES)
    for service, url in urls.items():
        given = CONTAINERS[service]["environment"]
        assert url == f"http://{service}:{given[f'{service.upper()}_OPS_PORT']}"
        assert given[f"{service.upper()}_OPS_HOST"] == "0.0.0.0"  # noqa: S104
        assert set(CONTAINERS["gateway"]["networks"]) & set(CONTAINERS[service]["networks"])


async def test_software_of_others_has_a_user_that_reads_events(environment: dict[str, str], tmp_path: Path) -> None:
    """With the permissions of .env and the address of a test server."""
    users = {user["user"]: user for user in json.loads(environment["NATS_CONFIG"])["authorization"]["users"]}
    given = json.loads(environment["EXTENSION_CREDENTIALS"])
    names = ("user", "password", "inbox_prefix")
    allowed = {name: BusUser(users[name]["password"], users[name].get("permissions")) for name in ("admin", EXTENSION)}
    with nats_server(tmp_path / "nats", allowed) as server:
        await asyncio.to_thread(provision_bus, server.servers.replace("//", f"//admin:{users['admin']['password']}@"))
        connection = await nats.connect(server.servers, **{name: given[name] for name in names})
        subscription = await connection.jetstream().pull_subscribe_bind(given["consumer"], given["stream"])
        with pytest.raises(nats.errors.TimeoutError):
            await subscription.fetch(1, timeout=0.2)
        assert (await subscription.consumer_info()).stream_name == STREAM
        await connection.close()


@pytest.fixture
def bus(environment: dict[str, str], tmp_path: Path) -> Iterator[NatsServer]:
    """A real bus that knows the users of .env."""
    users = {user["user"]: user for user in json.loads(environment["NATS_CONFIG"])["authorization"]["users"]}
    with nats_server(tmp_path / "nats", {"admin": BusUser(users["admin"]["password"])}) as server:
        yield server


@pytest.fixture
def database(tmp_path: Path) -> Iterator[PostgresServer]:
    with postgres_server(tmp_path / "postgres") as server:
        yield server


def test_the_admin_step_runs_by_itself(
    environment: dict[str, str], bus: NatsServer, database: PostgresServer, tmp_path: Path
) -> None:
    """With the addresses of test servers in place of the containers' names, twice."""
    settings = AdminSettings(_secrets_dir=mounted("provision", environment, tmp_path))
    assert set(settings.passwords) == set(SERVICES) - {"gateway"}
    password = environment["NATS_ADMIN_PASSWORD"]
    command = [str(BIN / "python"), "-m", "deploy.admin"]
    own = {
        "PYTHONPATH": str(ROOT),
        "ADMIN_DATABASE_URL": database.dsn,
        "ADMIN_NATS_URL": bus.servers.replace("nats://", f"nats://admin:{password}@"),
        "ADMIN_PASSWORDS": environment["ADMIN_PASSWORDS"],
    }
    for _ in range(2):
        done = subprocess.run(command, cwd=ROOT, env=own, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        assert password not in done.stdout + done.stderr
    del own["ADMIN_PASSWORDS"]
    refused = subprocess.run(command, cwd=ROOT, env=own, capture_output=True, text=True)
    assert refused.returncode != 0
    assert "passwords" in refused.stderr


def needed(service: str) -> set[str]:
    command = ["sh", str(IMAGES / "left_out.sh"), service, str(LOCK)]
    lines = subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()
    return {line.partition("==")[0] for line in lines}


def left_out(service: str) -> set[str]:
    return {line.partition("==")[0] for line in LOCK.read_text().splitlines()} - needed(service)


def test_what_images_leave_out_is_in_the_lock() -> None:
    listed = [
        name
        for file in ("development.txt", "training.txt", "batches.txt", "sound.txt")
        for name in (IMAGES / file).read_text().split()
    ]
    assert left_out("registry") == set(listed)
    assert {"torch", "scikit-learn"} <= needed("trainer") & needed("evaluator")


@pytest.mark.parametrize("service", [*SERVICES, "provision"])
def test_a_service_starts_without_what_its_image_leaves_out(service: str) -> None:
    """Its modules are imported while every module of the packages left out is missing."""
    absent = left_out(service)
    missing = {name for name, owners in packages_distributions().items() if set(owners) <= absent}
    modules = {"provision": ["deploy.admin"], "trainer": ["services.trainer.app", "services.trainer.engine"]}
    code = "import sys, importlib\n"
    code += f"sys.modules.update(dict.fromkeys({sorted(missing)!r}))\n"
    code += "".join(
        f"importlib.import_module({name!r})\n" for name in modules.get(service, [f"services.{service}.app"])
    )
    done = subprocess.run([str(BIN / "python"), "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_the_image_copies_what_there_is() -> None:
    copied = re.findall(r"^COPY (.+) \S+$", (IMAGES / "Dockerfile").read_text(), re.MULTILINE)
    assert all((ROOT / path).exists() for line in copied for path in line.split())
    assert {"shared", "services", "deploy", "library"} <= {path for line in copied for path in line.split()}
