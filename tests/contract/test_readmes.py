"""Each service's README says what the code hears, says and answers, and no room imports what it must not."""

import ast
import importlib
import re
from pathlib import Path

import pytest

from shared.events import said_by
from shared.handlers import Handlers
from shared.names import snake
from shared.streams import SERVICES

ROOT = Path(__file__).resolve().parents[2] / "services"
PURE_FORBIDDEN = {"asyncpg", "nats", "faststream", "fastapi", "starlette", "httpx", "torch", "tritonclient", "aiohttp"}
CLIENTS = {"Bus", "BodyStore", "Database", "NatsBroker", "Outbound", "Relay", "Service", "Triton", "create_pool"}
SQL = re.compile(r"\s*(SELECT|INSERT INTO|UPDATE|DELETE FROM|WITH)\s")


def handlers_of(service: str) -> Handlers:
    found: Handlers = importlib.import_module(f"services.{service}.handlers").HANDLERS
    return found


def listed(service: str, what: str) -> set[str]:
    text = re.sub(r"\n  +", " ", (ROOT / service / "README.md").read_text())
    line = next(line for line in text.splitlines() if line.startswith(f"- {what}:"))
    items = {item.strip().strip("`") for item in line.partition(":")[2].split(",")}
    return items - {"nothing", ""}


@pytest.mark.parametrize("service", SERVICES)
def test_hears(service: str) -> None:
    handlers = handlers_of(service)
    events = {event.fact() for event in handlers.events}
    commands = {f"command {snake(command.__name__)}" for command in handlers.commands}
    assert listed(service, "Hears") == events | commands


@pytest.mark.parametrize("service", SERVICES)
def test_says(service: str) -> None:
    assert listed(service, "Says") == {event.fact() for event in said_by(service)}


@pytest.mark.parametrize("service", SERVICES)
def test_answers(service: str) -> None:
    handlers = handlers_of(service)
    assert listed(service, "Answers") == {request.verb() for request in (*handlers.rpc, *handlers.memory_rpc)}


def imports(path: Path) -> set[str]:
    tree = ast.parse(path.read_text())
    found = {alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names}
    found |= {node.module or "" for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
    return found


@pytest.mark.parametrize("service", SERVICES)
def test_domain_is_pure(service: str) -> None:
    for path in (ROOT / service).rglob("domain.py"):
        roots = {name.split(".")[0] for name in imports(path)}
        assert not roots & PURE_FORBIDDEN
        assert not {name for name in imports(path) if name.endswith((".store", ".db", ".bus", ".engine"))}


@pytest.mark.parametrize("service", SERVICES)
def test_only_the_composition_root_builds_clients(service: str) -> None:
    for path in (ROOT / service).rglob("*.py"):
        called = {node.func for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.Call)}
        built = {name.id for name in called if isinstance(name, ast.Name)} & CLIENTS
        assert path.name == "app.py" or not built, path


@pytest.mark.parametrize("service", SERVICES)
def test_sql_is_in_stores_alone(service: str) -> None:
    for path in (ROOT / service).rglob("*.py"):
        texts = [node.value for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.Constant)]
        queries = [text for text in texts if isinstance(text, str) and SQL.match(text)]
        assert path.name == "store.py" or not queries, path


@pytest.mark.parametrize("service", SERVICES)
def test_rooms(service: str) -> None:
    for room in ("README.md", "__main__.py", "app.py", "settings.py", "handlers.py"):
        assert (ROOT / service / room).is_file(), room
