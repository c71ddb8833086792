"""Makes file and test of a new member of the library on a data set that is there, and says what is left by hand."""

import argparse
import json
import keyword
import re
import subprocess
import sys
from math import prod
from pathlib import Path
from string import Template
from typing import Any

import library
from library.base import DataSet, Feature
from shared.errors import NotFound

ROOT = Path(__file__).resolve().parents[1]
MEMBERS = Path("library", "members")
TEMPLATES = Path(__file__).with_name("templates") / "model"
NAME = re.compile(r"[a-z][a-z0-9]*(-[a-z0-9]+)*")
LONGEST = 60
LIST_END = re.compile(r"^(MODELS = \([^)]*?)(?=^\))", re.MULTILINE)
MARKER = "SAY:"
LEFT = """made library/members/{module}.py and tests/unit/test_{module}.py, named in library/__init__.py; left by hand:
  {marker} in that file    card and docstrings: what a person must know who uses it
  gate, config              what is good enough, and what a training can be told
  build, example            the network that fits the data, and a call as people make it
then ./justw check-model {name}, which says whether it is fit for the library"""


class Refused(Exception):
    """A member of this name, or on this data set, cannot be made."""


def check_name(name: str, root: Path) -> None:
    """The name becomes a module, a class, a subject of the bus and a path."""
    module = name.replace("-", "_")
    if not NAME.fullmatch(name) or len(name) > LONGEST or keyword.iskeyword(module):
        raise Refused(f"{name!r} is no name for a model: small letters, digits and single dashes, a letter first")
    if name in library.models() or (root / MEMBERS / f"{module}.py").exists():
        raise Refused(f"the name {name!r} is taken")


def facts_of(name: str, dataset: DataSet) -> dict[str, Any]:
    """What the templates say of the member; raises Refused where no template fits the data set."""
    kind = kind_of(dataset)
    feature, target = dataset.schema.features[0], dataset.schema.target
    facts: dict[str, Any] = {"name": name, "stem": "".join(map(str.capitalize, name.split("-"))), "marker": MARKER}
    facts |= {"data": type(dataset).__name__, "data_module": type(dataset).__module__, "target": target.name}
    facts |= {"input": feature.name, "datatype": feature.datatype, "input_shape": (-1, *feature.shape)}
    facts |= KINDS[kind] | {"values": prod(feature.shape), "example": example_of(feature)}
    facts |= {"labels": f"labels = {facts['data']}.labels" if dataset.labels else "", "width": len(dataset.labels) or 1}
    return facts | {"body": Template((TEMPLATES / f"{kind}.txt").read_text()).substitute(facts)}


def kind_of(dataset: DataSet) -> str:
    first, *others = dataset.schema.features
    if not others and first.datatype == "BYTES" and not first.shape and dataset.labels:
        return "text"
    if not others and first.datatype == "FP32" and first.shape and -1 not in first.shape and not first.missing:
        if dataset.labels:
            return "classification"
        if dataset.schema.target.datatype == "FP32" and not dataset.schema.target.shape:
            return "regression"
    raise Refused(
        f"no template fits {dataset.name!r}: it takes one column of numbers, none missing, to a class or a number, "
        "or of texts to a class; begin with a member that is like yours"
    )


def example_of(feature: Feature) -> str:
    if feature.datatype == "BYTES":
        return f'np.array([b"{MARKER} a text as people send it"], object)'
    return f'np.full({(1, *feature.shape)}, {feature.minimum or 0}, dtype="<f4")'


NUMBERS = {"typing": "", "torch": "Tensor, ", "arrays": ", Tensors", "constants": ""}
CLASSES = {"task": "CLASSIFICATION", "output": "probabilities", "metric": "roc_auc", "threshold": 0.8}
KINDS: dict[str, dict[str, Any]] = {
    "classification": NUMBERS | CLASSES | {"method": "logistic regression"},
    "regression": NUMBERS
    | {"task": "REGRESSION", "output": "value", "metric": "r2", "threshold": 0.2, "method": "ridge regression"},
    "text": CLASSES
    | {"typing": "    import onnx", "torch": "", "arrays": "", "method": "naive Bayes on the same words"}
    | {"constants": "\nBUCKETS = 1 << 16\nMOST_WORDS = 400\n"},
}


def make_files(facts: dict[str, Any], root: Path) -> list[Path]:
    module = facts["name"].replace("-", "_")
    files = {"member": root / MEMBERS / f"{module}.py", "test": root / "tests" / "unit" / f"test_{module}.py"}
    for template, path in files.items():
        path.write_text(Template((TEMPLATES / f"{template}.py.txt").read_text()).substitute(facts))
    return list(files.values())


def add_to_list(facts: dict[str, Any], root: Path) -> None:
    path, module = root / "library" / "__init__.py", facts["name"].replace("-", "_")
    line = json.dumps(f"library.members.{module}:{facts['stem']}")
    text, count = LIST_END.subn(rf"\g<1>    {line},\n", path.read_text())
    if count != 1:
        raise Refused(f"{path.relative_to(root)} has no list MODELS = (...) to add the name to")
    path.write_text(text)


def put_in_form(files: list[Path]) -> None:
    """By the lint that each commit must pass."""
    ruff = Path(sys.executable).with_name("ruff")
    for command in (["check", "--fix", "--quiet"], ["format", "--quiet"]):
        subprocess.run([ruff, *command, *files], cwd=ROOT, check=True)


def main() -> None:
    parser = argparse.ArgumentParser(prog="just new-model", description=__doc__)
    parser.add_argument("name", metavar="NAME", help="of the member, such as wine-mlp")
    parser.add_argument("data", metavar="DATA_SET", help=f"one of {', '.join(library.data_sets())}")
    chosen = parser.parse_args()
    try:
        check_name(chosen.name, ROOT)
        facts = facts_of(chosen.name, library.data_set(chosen.data))
        add_to_list(facts, ROOT)
    except (Refused, NotFound) as refusal:
        sys.exit(f"new-model: {refusal}")
    put_in_form(make_files(facts, ROOT))
    print(LEFT.format(name=chosen.name, module=chosen.name.replace("-", "_"), marker=MARKER))


if __name__ == "__main__":
    main()
