"""`./justw new-model` makes a member that learns and passes the lint, with what its author has to say marked."""

import pytest

from deploy.new_model import LONGEST, MARKER, Refused, check_name
from tests.contract.tree import BIN, ROOT, Tree

pytestmark = pytest.mark.library
NAME = "tumour-mlp"
FILES = ("library/members/tumour_mlp.py", "tests/unit/test_tumour_mlp.py")


def test_a_member_on_a_table_learns(tree: Tree) -> None:
    said = tree.python("-m", "deploy.new_model", NAME, "breast-cancer")
    assert f"check-model {NAME}" in said
    tree.succeed(BIN / "ruff", "check", *FILES)
    tree.succeed(BIN / "ruff", "format", "--check", *FILES)
    tree.test(FILES[1])


@pytest.mark.parametrize(("name", "dataset"), [("progress-mlp", "diabetes"), ("mail-words", "mails")])
def test_members_of_other_kinds_are_declared_and_in_form(name: str, dataset: str, tree: Tree) -> None:
    tree.python("-m", "deploy.new_model", name, dataset)
    path = f"library/members/{name.replace('-', '_')}.py"
    tree.succeed(BIN / "ruff", "check", path)
    tree.succeed(BIN / "ruff", "format", "--check", path)
    told = tree.python("-c", f"import library; print(library.model({name!r}).describe(), library.problems())")
    assert f"title='{MARKER}" in told
    assert told.rstrip().endswith("[]")


def test_what_cannot_be_made_is_refused_in_a_line(tree: Tree) -> None:
    before = (tree.path / "library" / "__init__.py").read_text()
    for arguments in (("spam-filter", "mails"), ("mine", "nope"), ("mine", "fashion-mnist")):
        done = tree.run(BIN / "python", "-m", "deploy.new_model", *arguments)
        assert done.returncode == 1
        assert done.stderr.startswith("new-model: ")
        assert done.stderr.count("\n") == 1
    assert (tree.path / "library" / "__init__.py").read_text() == before


@pytest.mark.parametrize("name", ["", "Mine", "a b", "../x", "class", "1st", "a--b", "a-", "a_b", "x" * (LONGEST + 1)])
def test_bad_names_are_refused(name: str) -> None:
    with pytest.raises(Refused):
        check_name(name, ROOT)
