"""The catalogue of the library, docs/library.md, from what its members declare."""

from collections.abc import Iterator
from pathlib import Path
from pkgutil import resolve_name
from typing import Any

import library
from deploy.markdown import table
from library.base import Model
from shared.events.common import TensorSpec

GALLERY = Path(__file__).resolve().parents[1] / "examples" / "gallery"
INTRODUCTION = """# The model library

What the members declare of themselves; written by `./justw docs`. `./justw library` trains, evaluates, promotes, serves
and calls them on this machine, and writes what it measured. A gate is what a version must reach, as served, on items
that training has not seen; a baseline is run by the evaluator on the same items, and is to be beaten.
"""


def own_members() -> list[Model[Any]]:
    """Those of this repository, by name; not what wheels bring to this machine."""
    return sorted((library.model(resolve_name(member).name) for member in library.MODELS), key=lambda each: each.name)


def catalogue_page() -> Iterator[str]:
    yield INTRODUCTION
    members = own_members()
    rows = ([link(member), member.task_type, member.card.title, gate(member)] for member in members)
    yield from table(("member", "task", "what it is", "gate"), rows)
    for member in members:
        yield from section(member)


def link(member: Model[Any]) -> str:
    return f"[`{member.name}`](#{member.name})"


def gate(member: Model[Any]) -> str:
    return ", ".join(map(str, member.gate.conditions))


def section(member: Model[Any]) -> Iterator[str]:
    dataset, card = library.data_set(member.dataset), member.card
    yield from (f"## {member.name}", "", f"{card.title}. {card.intended_use}", "")
    rows = {
        "takes": tensors(member.signature.inputs),
        "answers": tensors(member.signature.outputs),
        "labels": few(member.labels),
        "gate": gate(member),
        "baseline": baseline(member),
        "data": f"`{dataset.name}`: {card.data}",
        "source": f"{dataset.source}. Licence: {dataset.licence}",
        "licence": card.licence,
        "limits": card.limits,
        "example": example(member),
    }
    yield from table(("", ""), ((name, cell.replace("|", "\\|")) for name, cell in rows.items() if cell))


def tensors(specs: tuple[TensorSpec, ...]) -> str:
    """A -1 is the batch, or a length that a caller chooses."""
    return ", ".join(f"`{spec.name}` {spec.datatype} {list(spec.shape)}" for spec in specs)


def few(labels: tuple[str, ...], most: int = 12) -> str:
    shown = ", ".join(labels[:most])
    return f"{shown}, … ({len(labels)})" if len(labels) > most else shown


def baseline(member: Model[Any]) -> str:
    rival = member.baseline
    if rival is None:
        return "none"
    factor = f" {rival.factor:g} ×" if rival.factor != 1 else ""
    return f"{rival.method}: {rival.metric} {rival.operator}{factor} its own"


def example(member: Model[Any]) -> str:
    module = member.name.replace("-", "_")
    command = f"`PYTHONPATH=sdk .venv/bin/python -m examples.gallery.{module}`"
    return command if (GALLERY / f"{module}.py").exists() else ""
