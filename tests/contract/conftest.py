"""What contract tests share."""

from pathlib import Path

import pytest

from tests.contract.tree import Tree


@pytest.fixture
def tree(tmp_path: Path) -> Tree:
    return Tree(tmp_path / "tree")
