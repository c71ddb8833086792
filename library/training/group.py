"""The workers that train one model: each has a share of every batch, and all take the same steps.

Processes meet at a store of the first one; then each talks to each, by gloo on processors and by NCCL on GPUs.
"""

import socket
from collections.abc import Callable
from datetime import timedelta
from functools import reduce
from typing import Any

import torch
from torch import Tensor, distributed, nn
from torch._C._distributed_c10d import ProcessGroupGloo, TCPStore
from torch.nn.modules.batchnorm import _NormBase

from shared.worker import Seat, WorkersLost

SILENCE = timedelta(minutes=30)


class Group:
    """This worker among the others. What fails because one of them is gone raises WorkersLost."""

    def __init__(self, seat: Seat, listening: socket.socket | None, device: torch.device) -> None:
        self.rank, self.workers, self.device = seat.rank, seat.workers, device
        join = _by_gloo if device.type == "cpu" else _by_nccl
        self._joined = self._with_others(lambda: join(_store(seat, listening), seat, device))

    @property
    def is_first(self) -> bool:
        return self.rank == 0

    def share(self, places: Tensor) -> Tensor:
        """What of a batch is this worker's; shares differ by one item at most, and may be empty."""
        return places.tensor_split(self.workers)[self.rank]

    def sum(self, tensor: Tensor) -> None:
        """Put the sum of all workers' tensors into each."""
        self._with_others(lambda: self._joined.allreduce([tensor]).wait())

    def align(self, module: nn.Module) -> None:
        """Give all workers the weights of the first: nodes that differ may round otherwise."""
        with torch.no_grad():
            for tensor in filter(torch.is_floating_point, module.state_dict().values()):
                whole = tensor.contiguous()
                self._tell(whole)
                tensor.copy_(whole)

    def agree(self, value: bool) -> bool:
        """What the first worker says."""
        told = torch.tensor([float(value)], device=self.device)
        self._tell(told)
        return bool(told.item())

    def _tell(self, tensor: Tensor) -> None:
        options = distributed.BroadcastOptions()
        options.rootRank = 0
        self._with_others(lambda: self._joined.broadcast([tensor], options).wait())

    def _with_others(self, work: Callable[[], Any]) -> Any:
        try:
            return work()
        except RuntimeError as error:
            reason = str(error).strip().partition("\n")[0]
            raise WorkersLost(f"worker {self.rank + 1} of {self.workers} lost the others: {reason}") from error


class Exchange:
    """Adds up the gradients of a module over all workers, by one tensor that all of them are written into.

    With them go the sum of the losses, which weights have a gradient at all, and the statistics of batch norms, of
    which all take the mean.
    """

    def __init__(self, group: Group, module: nn.Module) -> None:
        self._group = group
        self._weights = [weight for weight in module.parameters() if weight.requires_grad]
        norms = [layer for layer in module.modules() if isinstance(layer, _NormBase)]
        self._norms = [buffer for layer in norms for buffer in layer.buffers() if buffer.is_floating_point()]
        exchanged = [*self._weights, *self._norms]
        sizes = [1 + len(self._weights), *(tensor.numel() for tensor in exchanged)]
        kind = reduce(torch.promote_types, (tensor.dtype for tensor in exchanged), torch.float32)
        self._whole = torch.zeros(sum(sizes), dtype=kind, device=group.device)
        self._head, *pieces = torch.split(self._whole, sizes)
        self._pieces = [piece.view_as(tensor) for piece, tensor in zip(pieces, exchanged, strict=True)]

    @torch.no_grad()
    def sum(self, losses: float) -> float:
        """After each worker's backward pass on its share; the sum of all their losses."""
        own, norms = self._pieces[: len(self._weights)], self._pieces[len(self._weights) :]
        self._head.copy_(torch.tensor([losses, *(weight.grad is not None for weight in self._weights)]))
        for piece, weight in zip(own, self._weights, strict=True):
            piece.zero_() if weight.grad is None else piece.copy_(weight.grad)
        for piece, buffer in zip(norms, self._norms, strict=True):
            torch.div(buffer, self._group.workers, out=piece)
        self._group.sum(self._whole)
        total, *having = self._head.tolist()
        for piece, weight, is_had in zip(own, self._weights, having, strict=True):
            weight.grad = piece.to(weight.dtype) if is_had else None
        for piece, buffer in zip(norms, self._norms, strict=True):
            buffer.copy_(piece)
        return float(total)


def _store(seat: Seat, listening: socket.socket | None) -> TCPStore:
    """That of the first worker, who listens on its own address alone."""
    host, _, port = seat.meeting.rpartition(":")
    whole: dict[str, Any] = {"world_size": seat.workers, "timeout": SILENCE, "wait_for_workers": False}
    if listening is None:
        return TCPStore(host, int(port), **whole)
    return TCPStore(host, int(port), is_master=True, master_listen_fd=listening.detach(), **whole)


def _by_gloo(store: TCPStore, seat: Seat, _: torch.device) -> Any:
    options = ProcessGroupGloo._Options()  # type: ignore[attr-defined]
    options._timeout = SILENCE
    options._devices = [ProcessGroupGloo.create_device(hostname=seat.host)]
    return ProcessGroupGloo(store, seat.rank, seat.workers, options)


def _by_nccl(store: TCPStore, seat: Seat, device: torch.device) -> Any:
    own: dict[str, Any] = {"world_size": seat.workers, "rank": seat.rank, "device_id": device}
    distributed.init_process_group("nccl", store=store, timeout=SILENCE, **own)
    return distributed.group.WORLD
