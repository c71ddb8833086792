"""Members that other wheels bring, by entry points of the group `aimass.library`.

One that is broken, or whose name is taken, is left out: the catalogue says why, and all others stay.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from importlib.metadata import EntryPoint, entry_points
from typing import Any

from library.base import DataSet, Model
from shared.names import is_slug

GROUP = "aimass.library"
Member = Model[Any] | DataSet


@dataclass(frozen=True)
class Catalogue:
    """All members by name, who brought them, and why what was left out was left out, by entry point."""

    models: dict[str, Model[Any]] = field(default_factory=dict)
    data_sets: dict[str, DataSet] = field(default_factory=dict)
    problems: dict[str, str] = field(default_factory=dict)


def add_all(catalogue: Catalogue) -> Catalogue:
    """Add what the installed wheels bring: data sets first, because a model must find its own."""
    found = list(_load_all(catalogue))
    for kind in (DataSet, Model):
        for entry, member in found:
            if isinstance(member, kind):
                _attempt(catalogue, entry, member)
    return catalogue


def _load_all(catalogue: Catalogue) -> Iterator[tuple[EntryPoint, Member]]:
    for entry in sorted(entry_points(group=GROUP), key=_title):
        try:
            yield entry, _load(entry)
        except (Exception, SystemExit) as error:
            _leave_out(catalogue, entry, error)


def _load(entry: EntryPoint) -> Member:
    kind = entry.load()
    if not (isinstance(kind, type) and issubclass(kind, Model | DataSet)):
        raise TypeError(f"{entry.value} is neither a Model nor a DataSet of library.base")
    return kind()


def _attempt(catalogue: Catalogue, entry: EntryPoint, member: Member) -> None:
    try:
        _add(catalogue, member)
    except (Exception, SystemExit) as error:
        _leave_out(catalogue, entry, error)


def _add(catalogue: Catalogue, member: Member) -> None:
    if isinstance(member, Model):
        check_model(member, catalogue.data_sets)
        _claim("model", member, catalogue.models)
        catalogue.models[member.name] = member
    else:
        check_data_set(member)
        _claim("data set", member, catalogue.data_sets)
        catalogue.data_sets[member.name] = member


def _claim(kind: str, member: Member, taken: dict[str, Any]) -> None:
    if holder := taken.get(member.name):
        raise ValueError(f"the {kind} {member.name!r} is there already, from {type(holder).__module__}")


def check_data_set(dataset: DataSet) -> None:
    """Raises what is wrong with a data set's declaration."""
    if not is_slug(dataset.name):
        raise ValueError(f"{dataset.name!r} is no name: it must match [a-z0-9_-], at most 64 of them")
    if not (dataset.source and dataset.licence and dataset.schema and dataset.split):
        raise ValueError(f"data set {dataset.name!r} must say its source and its licence")


def check_model(model: Model[Any], data_sets: dict[str, DataSet]) -> None:
    """Raises what is wrong with a model's declaration, or between it and its data set."""
    told = model.describe()
    model.validate({})
    if told.dataset not in data_sets:
        raise ValueError(f"the library has no data set {told.dataset!r}, which it is trained on")
    dataset, inputs = data_sets[told.dataset], [spec.name for spec in told.signature.inputs]
    if unknown := set(inputs) - {feature.name for feature in dataset.schema.features}:
        raise ValueError(f"inputs {sorted(unknown)} are no columns of its data set")
    if told.labels != dataset.labels:
        raise ValueError("its labels are not those of its data set")
    if list(model.example()) != inputs:
        raise ValueError(f"its example does not hold the inputs {inputs}")


def _leave_out(catalogue: Catalogue, entry: EntryPoint, error: BaseException) -> None:
    catalogue.problems[_title(entry)] = f"{type(error).__name__}: {error}"


def _title(entry: EntryPoint) -> str:
    wheel = f"{entry.dist.name} {entry.dist.version}" if entry.dist else "an unknown wheel"
    return f"{wheel}: {entry.name}"
