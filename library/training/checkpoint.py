"""Checkpoints as safetensors files: weights, optimiser state, random numbers, and facts about their training."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import TypeVar

import safetensors
import torch
from safetensors.torch import load_file, save
from torch import Tensor, nn

from library.files import write_atomically
from library.training.random_state import Generators

MODULE = "module."
OPTIMISER = "optimiser."
RANDOM = "random."
NUMBERS = "optimiser"
Value = TypeVar("Value")


def write(path: Path, module: nn.Module, optimiser: torch.optim.Optimizer, facts: Mapping[str, str]) -> None:
    generators = Generators.now()
    numbers: dict[str, float] = {}
    tensors = {MODULE + name: tensor for name, tensor in module.state_dict().items()}
    tensors |= {RANDOM + name: tensor for name, tensor in generators.tensors.items()}
    for index, state in optimiser.state_dict()["state"].items():
        for name, value in state.items():
            (tensors if isinstance(value, Tensor) else numbers)[f"{OPTIMISER}{index}.{name}"] = value
    own = {name: tensor.detach().cpu().clone().contiguous() for name, tensor in tensors.items()}
    write_atomically(path, save(own, {**facts, RANDOM: generators.rest, NUMBERS: json.dumps(numbers)}))


def facts_of(path: Path) -> dict[str, str]:
    """The facts that a checkpoint was written with."""
    with safetensors.safe_open(path, framework="pt") as file:
        return dict(file.metadata() or {})


def load(path: Path, module: nn.Module, optimiser: torch.optim.Optimizer) -> Generators:
    """Put a checkpoint's state into a module and an optimiser built as those that it was written from."""
    tensors, facts = load_file(path), facts_of(path)
    module.load_state_dict(_below(MODULE, tensors))
    state: dict[int, dict[str, object]] = {}
    for name, value in (_below(OPTIMISER, tensors) | _below(OPTIMISER, json.loads(facts.get(NUMBERS, "{}")))).items():
        index, _, entry = name.partition(".")
        state.setdefault(int(index), {})[entry] = value
    optimiser.load_state_dict({"state": state, "param_groups": optimiser.state_dict()["param_groups"]})
    return Generators(_below(RANDOM, tensors), facts.get(RANDOM, ""))


def weights_of(path: Path) -> dict[str, Tensor]:
    """The state of the module alone."""
    return _below(MODULE, load_file(path))


def _below(prefix: str, named: Mapping[str, Value]) -> dict[str, Value]:
    return {name.removeprefix(prefix): value for name, value in named.items() if name.startswith(prefix)}
