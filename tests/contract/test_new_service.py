"""`./justw new-service` makes a service that passes the contracts and starts, with no other file to edit."""

import json

import pytest
import yaml

from tests.contract.tree import BIN, Tree

NAME = "pricing"
START = f"""
import json, urllib.request
from deploy.embedded.stack import Stack
from pathlib import Path

stack = Stack(Path(".aimass-test").absolute(), parts=("nats", "postgres", "{NAME}"), say=lambda line: None)
try:
    stack.up()
    print(urllib.request.urlopen(f"http://127.0.0.1:{{stack.plan.ports['ops-{NAME}']}}/readyz").read().decode())
finally:
    stack.down()
"""


@pytest.fixture
def grown(tree: Tree) -> Tree:
    said = tree.python("-m", "deploy.new_service", NAME)
    assert f"services/{NAME}/handlers.py" in said
    return tree


def test_it_passes_the_contracts(grown: Tree) -> None:
    grown.test("tests/contract/test_readmes.py", "tests/contract/test_docs.py", "-k", NAME)
    for check in (["check"], ["format", "--check"]):
        grown.succeed(BIN / "ruff", *check, f"services/{NAME}", "shared/streams.py")
    grown.succeed(BIN / "lint-imports", "--no-cache")
    containers = yaml.safe_load((grown.path / "docker-compose.yml").read_text())["services"]
    assert containers[NAME]["environment"][f"{NAME.upper()}_NATS_USER"] == NAME
    assert f"`{NAME.upper()}_NATS_URL`" in (grown.path / "docs" / "reference" / "settings.md").read_text()


def test_it_starts(grown: Tree) -> None:
    ready = json.loads(grown.python("-c", START))
    assert (ready["service"], ready["ready"]) == (NAME, True)


def test_bad_names_are_refused_in_a_line(tree: Tree) -> None:
    before = (tree.path / "shared" / "streams.py").read_text()
    for name in ("", "Pricing", "a b", "../x", "class", "1st", "x" * 32, "auth", "admin", "a.b"):
        done = tree.run(BIN / "python", "-m", "deploy.new_service", name)
        assert done.returncode == 1
        assert done.stderr.startswith("new-service: ")
        assert done.stderr.count("\n") == 1
    assert (tree.path / "shared" / "streams.py").read_text() == before
