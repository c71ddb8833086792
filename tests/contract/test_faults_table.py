"""The fault table names only tests that exist, and leaves no row without a test or a reason."""

import ast
import re

import pytest

from tests.contract.tree import ROOT

PAGE = ROOT / "docs" / "faults.md"
ROWS = [line for line in PAGE.read_text().splitlines() if re.match(r"\| \d+ \|", line)]
COMMAND = re.compile(r"`\./justw (test|slow) (tests/[\w/]+\.py)::([\w:]+)`")
FAULTS = 30


def defined(path: str) -> set[str]:
    """The tests of a file, those of a class by the class too."""
    found = set()
    for node in ast.parse((ROOT / path).read_text()).body:
        inner = node.body if isinstance(node, ast.ClassDef) else [node]
        prefix = f"{node.name}::" if isinstance(node, ast.ClassDef) else ""
        found |= {prefix + one.name for one in inner if isinstance(one, ast.FunctionDef | ast.AsyncFunctionDef)}
    return found


def test_every_fault_has_its_row() -> None:
    assert [int(row.split("|")[1]) for row in ROWS] == list(range(1, FAULTS + 1))


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.split("|")[1].strip())
def test_its_tests_exist_or_it_says_why_not(row: str) -> None:
    commands = COMMAND.findall(row)
    assert row.count("./justw") == len(commands), "a command that is not read here"
    assert commands or "Not shown" in row
    for _, path, name in commands:
        assert name in defined(path), f"{path} has no {name}"


def test_what_is_slow_is_asked_for_as_such() -> None:
    """A file that is slow as a whole runs by no other command."""
    for kind, path, name in COMMAND.findall(PAGE.read_text()):
        whole = "pytestmark = pytest.mark.slow" in (ROOT / path).read_text()
        assert kind == "slow" or not whole, f"{name} is run by ./justw slow"
