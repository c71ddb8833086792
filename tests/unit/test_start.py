"""What a service leaves out when it starts: seen in a process of its own, as this one has imported it already."""

import subprocess
import sys

import pytest

from shared.start import UNUSED
from tests.unit.task_process import ROOT

CODE = """
import sys
from importlib import import_module
from shared.start import _import_without
module, unused = sys.argv[1:]
_import_without(unused, module)
assert module in sys.modules and unused not in sys.modules, "imported in spite of all"
assert import_module(unused).__name__ == unused, "not to be had by who needs it"
"""


@pytest.mark.parametrize(("module", "unused"), UNUSED.items())
def test_a_module_is_imported_without_what_it_can_do_without(module: str, unused: str) -> None:
    subprocess.run([sys.executable, "-c", CODE, module, unused], cwd=ROOT, check=True)
