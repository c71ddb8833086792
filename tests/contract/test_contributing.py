"""Each recipe of CONTRIBUTING.md, carried out on a copy of the tree, gives what it promises."""

from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from deploy.embedded.testing_servers import PostgresServer, postgres_server
from deploy.provision import DATABASE, provision_database
from tests.contract.recipes import Step, recipes
from tests.contract.tree import BIN, ROOT, Tree

RECIPES = recipes((ROOT / "CONTRIBUTING.md").read_text())
WITHOUT_FILES = {"Add a service"}


def carried_out(tree: Tree, recipe: str) -> list[Step]:
    steps = RECIPES[recipe]
    for step in steps:
        step.carry_out(tree.path)
    code = sorted({step.path for step in steps if step.path.endswith(".py")})
    if code:
        tree.succeed(BIN / "ruff", "check", "--fix", *code)
        tree.succeed(BIN / "ruff", "format", "--check", *code)
    return steps


@pytest.mark.parametrize("recipe", RECIPES)
def test_no_recipe_touches_more_than_three_files(recipe: str) -> None:
    files = {step.path for step in RECIPES[recipe]}
    assert len(files) <= 3
    assert bool(files) != (recipe in WITHOUT_FILES)


def test_every_addition_has_its_recipe() -> None:
    names = ("event", "service", "model", "permission", "setting", "migration")
    assert [name.split()[-1] for name in RECIPES] == list(names)


def test_an_event(tree: Tree) -> None:
    carried_out(tree, "Add an event")
    tree.python("-m", "deploy.reference")
    assert "card_revised" in (tree.path / "docs" / "graph.md").read_text()
    for service in ("inference", "monitor"):
        hears = (tree.path / "services" / service / "README.md").read_text()
        assert "card_revised" in hears
    tree.succeed(BIN / "buf", "lint", "proto-schemas")
    tree.test("tests/contract/test_parity.py", "-k", "CardRevised or without_a_model")
    tree.test("tests/contract/test_readmes.py", "tests/contract/test_docs.py")


def test_a_model(tree: Tree) -> None:
    carried_out(tree, "Add a model")
    tree.test("tests/unit/test_library.py", "-k", "digits-linear")


def test_a_permission(tree: Tree) -> None:
    carried_out(tree, "Add a permission")
    tree.test("tests/contract/test_roles.py", "tests/contract/test_routes.py", "tests/unit/test_permissions.py")


def test_a_setting(tree: Tree) -> None:
    carried_out(tree, "Add a setting")
    tree.python("-m", "deploy.reference")
    assert "`MONITOR_HOST_HOURS`" in (tree.path / "docs" / "reference" / "settings.md").read_text()


@pytest.fixture
def database(tmp_path: Path) -> Iterator[PostgresServer]:
    with postgres_server(tmp_path / "postgres") as server:
        yield server


def test_a_migration(tree: Tree, database: PostgresServer) -> None:
    """On a database that has what was there before."""
    passwords = {"auth": "password"}
    provision_database(database.dsn, passwords, tree.path)
    carried_out(tree, "Add a migration")
    provision_database(database.dsn, passwords, tree.path)
    with psycopg.connect(database.dsn_for(DATABASE)) as connection:
        assert connection.execute("SELECT note FROM auth.api_keys").fetchall() == []
