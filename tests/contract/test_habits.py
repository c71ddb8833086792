"""The habits of the project hold by themselves: hooks, contracts that break nobody, licence."""

import tomllib
from pathlib import Path

import pytest
import yaml

from tests.contract.tree import BIN, ROOT, Tree

SCHEMA = "proto-schemas/aimass/identity/v1/events.proto"
HOOKS = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text())["repos"]


def breaking(tree: Tree) -> tuple[int, str]:
    done = tree.run(BIN / "python", "-m", "deploy.breaking")
    return done.returncode, done.stdout


@pytest.fixture
def released(tree: Tree) -> Tree:
    """A tree whose last release is its only commit."""
    tree.commit()
    tree.git("tag", "v1.2.3")
    return tree


def edit(tree: Tree, path: str, old: str, new: str) -> None:
    text = (tree.path / path).read_text()
    assert old in text
    (tree.path / path).write_text(text.replace(old, new, 1))


def test_without_a_release_nothing_can_break(tree: Tree) -> None:
    edit(tree, SCHEMA, "string key_id = 1;", "")
    assert breaking(tree) == (0, "proto: no release is tagged yet, so nothing can break\n")
    tree.commit()
    tree.git("tag", "something-else")
    assert breaking(tree) == (0, "proto: no release is tagged yet, so nothing can break\n")


def test_what_is_added_breaks_nobody(released: Tree) -> None:
    edit(released, SCHEMA, "string key_id = 1;", "string key_id = 1;\n  string reason = 99;")
    assert breaking(released) == (0, "proto: compatible with v1.2.3\n")


def test_what_is_renamed_breaks_readers(released: Tree) -> None:
    edit(released, SCHEMA, "string key_id = 1;", "string key = 1;")
    status, said = breaking(released)
    assert status != 0
    assert "events.proto" in said
    assert "breaks readers of v1.2.3" in said


def test_hooks_are_local_and_there() -> None:
    assert [repository["repo"] for repository in HOOKS] == ["local"]
    for hook in HOOKS[0]["hooks"]:
        assert hook["language"] == "system"
        assert (BIN / Path(hook["entry"].split()[0]).name).is_file()


def test_hooks_stop_a_commit(tree: Tree) -> None:
    tree.commit()
    for hook, file in {"ruff-check": "shared/names.py", "contracts-of-record": SCHEMA}.items():
        tree.succeed(BIN / "pre-commit", "run", hook, "--files", file)
    (tree.path / "shared" / "names.py").write_text("import os\n")
    assert tree.run(BIN / "pre-commit", "run", "ruff-check", "--files", "shared/names.py").returncode != 0


def test_coverage_says_which_lines_no_test_has_run(tree: Tree) -> None:
    tree.succeed(BIN / "coverage", "run", "-m", "pytest", "-q", "tests/unit/test_task_state.py")
    tree.succeed(BIN / "coverage", "combine")
    report = tree.succeed(BIN / "coverage", "report")
    assert "services/auth/app.py" in report
    assert "shared/tasks/state.py" not in report, "what is covered whole is left out"


def test_the_licence_is_named_and_there() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert project["license"] == "Apache-2.0"
    text = (ROOT / project["license-files"][0]).read_text()
    assert "Apache License" in text
    assert "END OF TERMS AND CONDITIONS" in text


def test_auth_may_not_import_the_library(tree: Tree) -> None:
    tree.succeed(BIN / "lint-imports", "--no-cache")
    edit(tree, "services/auth/domain.py", "\nfrom ", "\nimport library\nfrom ")
    assert "Broken contracts" in tree.run(BIN / "lint-imports", "--no-cache").stdout
