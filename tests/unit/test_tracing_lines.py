"""The lines of the tree that `aimass trace` prints."""

from aimass.cli.tracing import stems


def test_branches_end_where_nothing_follows() -> None:
    assert stems([0, 1, 2, 2, 1, 2, 0, 1]) == ["", "├─ ", "│  ├─ ", "│  └─ ", "└─ ", "   └─ ", "", "└─ "]


def test_no_lines_for_no_nodes() -> None:
    assert stems([]) == []
