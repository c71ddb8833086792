"""Real servers for tests, on free ports; a database of its own for each test, cloned from a migrated template."""

import gc
import os
import secrets
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import psycopg
import pytest
from hypothesis import settings
from pydantic import SecretStr
from xdist.scheduler import LoadScopeScheduling

from deploy import provision
from deploy.embedded.servers import BusUser
from deploy.embedded.testing_servers import NatsServer, PostgresServer, nats_server, postgres_server
from library import models
from shared.service import GC_THRESHOLDS
from shared.settings import ServiceSettings
from tests.quick_folder import use_memory

gc.set_threshold(*GC_THRESHOLDS)
use_memory()
os.environ["ORT_DISABLE_TELEMETRY"] = "1"  # onnxruntime otherwise reports home
os.environ.setdefault("AIMASS_TASK_NICENESS", "0")  # here nobody waits for anything but tasks
os.environ.setdefault("OMP_NUM_THREADS", "1")  # threads of several test processes only wait for each other


# Judged by what they find, never by the time an example takes; in CI by the same examples in every run.
settings.register_profile("ours", deadline=None, derandomize="CI" in os.environ)
settings.load_profile("ours")


class StacksOnce(LoadScopeScheduling):
    """A process runs a file as a whole; a folder whose files share a stack too, so that the stack starts once.

    Of the library's tests it runs all that read one data set, which may take seconds to read.
    """

    FOLDERS = ("tests/faults", "tests/e2e")
    # What is of models and data: with the rest of its folder it would be the last to end.
    APART = {
        f"tests/e2e/test_{name}.py": scope
        for scope, names in {
            "tests/e2e, of models": ("as_triton", "datasets", "gallery", "members", "uploads", "wheels"),
            "tests/e2e, of trained members": ("all_members", "gallery_trained"),
        }.items()
        for name in names
    }
    LIBRARY = "tests/unit/test_library.py"
    # Those that take longest begin before the many short ones: else all would wait for the last of them.
    LONG = (
        *("tests/faults/", "tests/e2e/", "tests/integration/test_tuning.py", "tests/integration/test_trainer.py"),
        *("tests/integration/test_training_options.py", "tests/integration/test_evaluator.py", LIBRARY),
        *("tests/unit/test_training_resume.py", "tests/unit/test_training_engine.py"),
        *("tests/contract/test_compose.py", "tests/contract/test_contributing.py"),
    )

    def _split_scope(self, nodeid: str) -> str:
        file, _, test = nodeid.partition("::")
        if file == self.LIBRARY:
            return f"{file}::{_data_set_of(test)}"
        if file in self.APART:
            return self.APART[file]
        return next((folder for folder in self.FOLDERS if file.startswith(f"{folder}/")), file)


def _data_set_of(test: str) -> str:
    """The data set that a test's parameter, a member of the library, is or reads."""
    member = test.partition("[")[2].rstrip("]")
    return models()[member].dataset if member in models() else member


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> LoadScopeScheduling:
    return StacksOnce(config, log)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    items.sort(key=lambda item: not item.nodeid.startswith(StacksOnce.LONG))


def pytest_collection_finish() -> None:
    """What is imported stays: the collector need not look through it again in every test process."""
    gc.collect()
    gc.freeze()


@pytest.fixture
def kept_umask() -> Iterator[None]:
    """For tests that call a command's `main`, which narrows it for good."""
    kept = os.umask(0o022)
    yield
    os.umask(kept)


@pytest.fixture(scope="session")
def postgres(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PostgresServer]:
    with postgres_server(tmp_path_factory.mktemp("postgres")) as server:
        yield server


@pytest.fixture(scope="session")
def passwords(postgres: PostgresServer) -> dict[str, str]:
    """The template: all roles, schemas and migrations."""
    found = {service: secrets.token_hex(8) for service in provision.DATABASE_SERVICES}
    provision.provision_database(postgres.dsn, found)
    return found


@dataclass(frozen=True)
class DatabaseUrls:
    server: PostgresServer
    name: str
    passwords: dict[str, str]

    def url(self, service: str) -> str:
        return f"postgresql://{service}:{self.passwords[service]}@127.0.0.1:{self.server.port}/{self.name}"


@pytest.fixture
def database_urls(postgres: PostgresServer, passwords: dict[str, str]) -> Iterator[DatabaseUrls]:
    """A fresh copy of the template for one test."""
    with fresh_database(postgres, passwords) as found:
        yield found


@contextmanager
def fresh_database(postgres: PostgresServer, passwords: dict[str, str]) -> Iterator[DatabaseUrls]:
    name = f"test_{secrets.token_hex(6)}"
    with psycopg.connect(postgres.dsn, autocommit=True) as admin:
        admin.execute(f"CREATE DATABASE {name} TEMPLATE aimass")
        for service in passwords:
            admin.execute(f"GRANT CONNECT ON DATABASE {name} TO {service}")
    yield DatabaseUrls(postgres, name, passwords)
    with psycopg.connect(postgres.dsn, autocommit=True) as admin:
        admin.execute(f"DROP DATABASE {name} WITH (FORCE)")


@pytest.fixture
def nats(tmp_path: Path) -> Iterator[NatsServer]:
    users = {service: BusUser("password") for service in provision.SERVICES}
    with nats_server(tmp_path / "nats", users) as server:
        yield server


@pytest.fixture
def settings_of(nats: NatsServer, database_urls: DatabaseUrls, tmp_path: Path) -> Callable[[str], ServiceSettings]:
    """Settings of a service on the test's own servers."""

    return partial(settings_on, nats, database_urls, tmp_path)


def settings_on(nats: NatsServer, urls: DatabaseUrls, folder: Path, service: str) -> ServiceSettings:
    """Settings of a service on servers that a test has for itself or shares with its file."""
    return ServiceSettings(
        nats_url=nats.servers,
        nats_user=service,
        nats_password=SecretStr("password"),
        database_url=SecretStr(urls.url(service)),
        artifacts_url=f"file://{folder}/artifacts",
        home_dir=folder,
    )
