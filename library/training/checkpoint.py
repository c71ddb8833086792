"""Checkpoints as safetensors files: weights, optimiser state, and facts about the training they belong to."""

from collections.abc import Mapping
from pathlib import Path

import safetensors
import torch
from safetensors.torch import load_file, save
from torch import Tensor, nn

from library.files import write_atomically

MODULE = "module."
OPTIMISER = "optimiser."


def write(path: Path, module: nn.Module, optimiser: torch.optim.Optimizer, facts: Mapping[str, str]) -> None:
    tensors = {MODULE + name: tensor for name, tensor in module.state_dict().items()}
    for index, state in optimiser.state_dict()["state"].items():
        tensors |= {f"{OPTIMISER}{index}.{name}": torch.as_tensor(value) for name, value in state.items()}
    own = {name: tensor.detach().cpu().clone().contiguous() for name, tensor in tensors.items()}
    write_atomically(path, save(own, dict(facts)))


def facts_of(path: Path) -> dict[str, str]:
    """The facts that a checkpoint was written with."""
    with safetensors.safe_open(path, framework="pt") as file:
        return dict(file.metadata() or {})


def load(path: Path, module: nn.Module, optimiser: torch.optim.Optimizer) -> None:
    """Put a checkpoint's state into a module and an optimiser built as those that it was written from."""
    tensors = load_file(path)
    module.load_state_dict(_below(MODULE, tensors))
    state: dict[int, dict[str, Tensor]] = {}
    for name, tensor in _below(OPTIMISER, tensors).items():
        index, _, entry = name.partition(".")
        state.setdefault(int(index), {})[entry] = tensor
    optimiser.load_state_dict({"state": state, "param_groups": optimiser.state_dict()["param_groups"]})


def _below(prefix: str, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {name.removeprefix(prefix): tensor for name, tensor in tensors.items() if name.startswith(prefix)}
