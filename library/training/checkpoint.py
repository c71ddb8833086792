"""Checkpoints as safetensors files: weights, optimiser state, random numbers, and facts about their training."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import TypeVar

import safetensors
import safetensors.numpy as numpy_files
import safetensors.torch as torch_files
import torch
from torch import Tensor, nn

from library.training.random_state import Generators

MODULE = "module."
OPTIMISER = "optimiser."
RANDOM = "random."
NUMBERS = "optimiser"
Value = TypeVar("Value")


def write(
    path: Path,
    module: nn.Module,
    optimiser: torch.optim.Optimizer,
    facts: Mapping[str, str],
    generators: Generators | None = None,
) -> None:
    """Write a whole file or none; where the random numbers stand too, where an epoch goes on with them."""
    numbers: dict[str, float] = {}
    tensors = {MODULE + name: tensor for name, tensor in module.state_dict().items()}
    for index, state in optimiser.state_dict()["state"].items():
        for name, value in state.items():
            (tensors if isinstance(value, Tensor) else numbers)[f"{OPTIMISER}{index}.{name}"] = value
    told = {**facts, NUMBERS: json.dumps(numbers)}
    if generators is not None:
        tensors |= {RANDOM + name: tensor for name, tensor in generators.tensors.items()}
        told[RANDOM] = generators.rest
    draft = path.with_name(f".{path.name}.part")
    _write({name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}, draft, told)
    draft.replace(path)  # not synced to the disk: a work folder does not outlive a machine, what keeps the file does


def _write(tensors: Mapping[str, Tensor], path: Path, facts: dict[str, str]) -> None:
    """The same bytes either way; numpy's takes a quarter of the time, and knows no bfloat16."""
    if any(tensor.dtype is torch.bfloat16 for tensor in tensors.values()):
        torch_files.save_file({name: tensor.clone() for name, tensor in tensors.items()}, path, facts)
    else:
        numpy_files.save_file({name: tensor.numpy() for name, tensor in tensors.items()}, path, facts)


def facts_of(path: Path) -> dict[str, str]:
    """The facts that a checkpoint was written with."""
    with safetensors.safe_open(path, framework="pt") as file:
        return dict(file.metadata() or {})


def load(path: Path, module: nn.Module, optimiser: torch.optim.Optimizer) -> Generators | None:
    """Put a checkpoint's state into a module and an optimiser built as those that it was written from; where the
    random numbers stand, if it tells.
    """
    tensors, facts = torch_files.load_file(path), facts_of(path)
    module.load_state_dict(_below(MODULE, tensors))
    state: dict[int, dict[str, object]] = {}
    for name, value in (_below(OPTIMISER, tensors) | _below(OPTIMISER, json.loads(facts.get(NUMBERS, "{}")))).items():
        index, _, entry = name.partition(".")
        state.setdefault(int(index), {})[entry] = value
    optimiser.load_state_dict({"state": state, "param_groups": optimiser.state_dict()["param_groups"]})
    return Generators(_below(RANDOM, tensors), facts[RANDOM]) if RANDOM in facts else None


def weights_of(path: Path) -> dict[str, Tensor]:
    """The state of the module alone."""
    return _below(MODULE, torch_files.load_file(path))


def _below(prefix: str, named: Mapping[str, Value]) -> dict[str, Value]:
    return {name.removeprefix(prefix): value for name, value in named.items() if name.startswith(prefix)}
