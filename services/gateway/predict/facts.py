"""What must be known of a version to translate for it: its signature, its labels, and the columns of its data set."""

from collections.abc import Mapping
from dataclasses import dataclass
from math import prod
from typing import Any, Final

from shared.events.common import Signature, TensorSpec
from shared.rpc.registry import VersionView
from shared.signatures import is_batched

MOST_NUMBERED: Final = 4096


@dataclass(frozen=True)
class Input:
    """An input for one item: its shape without the batch axis, the names of its numbers, their range in the data."""

    name: str
    datatype: str
    shape: tuple[int, ...]
    columns: tuple[str, ...] = ()
    minimum: float | None = None
    maximum: float | None = None


@dataclass(frozen=True)
class Facts:
    """What is known of a version; a signature without a batch axis takes one item."""

    model: str
    version: int
    task_type: str
    labels: tuple[str, ...]
    signature: Signature
    inputs: tuple[Input, ...]

    @property
    def is_batched(self) -> bool:
        return is_batched(self.signature)


def facts_of(view: VersionView, data: Mapping[str, Any]) -> Facts:
    """The facts of a version, and of the data set that it was trained on where that is known."""
    features = {feature["name"]: feature for feature in data.get("schema", {}).get("features", ())}
    batched = is_batched(view.signature)
    inputs = tuple(_input(spec, batched, features.get(spec.name, {})) for spec in view.signature.inputs)
    return Facts(view.model, view.version, view.task_type, tuple(view.labels), view.signature, inputs)


def _input(spec: TensorSpec, batched: bool, feature: Mapping[str, Any]) -> Input:
    shape = spec.shape[1:] if batched else spec.shape
    columns = _columns(spec.name, shape, tuple(feature.get("columns", ())))
    return Input(spec.name, spec.datatype, shape, columns, feature.get("minimum"), feature.get("maximum"))


def _columns(name: str, shape: tuple[int, ...], declared: tuple[str, ...]) -> tuple[str, ...]:
    """The names of the data set, or `name.0`, `name.1` … as in the file of a batch; none for one number or any size."""
    size = -1 if -1 in shape else prod(shape)
    if len(declared) == size:
        return declared
    return tuple(f"{name}.{number}" for number in range(size)) if shape and 1 < size <= MOST_NUMBERED else ()
