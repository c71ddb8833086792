"""Where a training computes and how exactly: device, precision, and the scale of gradients in half precision."""

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext

import torch
from torch import Tensor, nn

from shared.training import TrainingOptions, invalid

HALVES = {"bfloat16": torch.bfloat16, "float16": torch.float16}


class Place:
    """A device that is there (of GPUs that with the index), and a precision that it knows. Raises InvalidInput."""

    def __init__(self, options: TrainingOptions, index: int = 0) -> None:
        self.device = _device(options, index)
        self._half = HALVES.get(options.precision)
        self.scaler = torch.amp.GradScaler(self.device.type) if self._half is torch.float16 else None
        self._clip_norm = options.clip_norm

    def learning(self) -> AbstractContextManager[object]:
        """What a module and its loss compute within while it learns."""
        if self._half is None:
            return self.computing()
        return self._learning_in(self._half)

    def computing(self) -> AbstractContextManager[object]:
        """Modules that make a tensor in passing make it on the device."""
        return nullcontext() if self.device.type == "cpu" else self.device

    @contextmanager
    def _learning_in(self, half: torch.dtype) -> Iterator[None]:
        with self.computing(), torch.autocast(self.device.type, half):
            yield

    def backward(self, loss: Tensor) -> None:
        scaled = loss if self.scaler is None else self.scaler.scale(loss)
        scaled.backward()  # type: ignore[no-untyped-call]

    def clip(self, module: nn.Module, optimiser: torch.optim.Optimizer) -> float | None:
        """The norm of the gradient before it was clipped; None where it is left as it is."""
        if self._clip_norm is None:
            return None
        if self.scaler is not None:
            self.scaler.unscale_(optimiser)
        return nn.utils.clip_grad_norm_(module.parameters(), self._clip_norm).item()

    def step(self, optimiser: torch.optim.Optimizer) -> None:
        """In half precision a step whose gradient was too large is left out, and the scale becomes smaller."""
        if self.scaler is None:
            optimiser.step()
        else:
            self.scaler.step(optimiser)
            self.scaler.update()


def _device(options: TrainingOptions, index: int) -> torch.device:
    has_gpu = torch.cuda.is_available()
    if options.device == "cuda" and not has_gpu:
        raise invalid("device", "torch finds no GPU here; use auto or cpu")
    found = torch.device("cuda" if has_gpu and options.device != "cpu" else "cpu")
    if found.type == "cpu" and options.precision == "float16":
        raise invalid("precision", "float16 needs a GPU, and torch finds none here; use bfloat16 or float32")
    return _gpu(index) if index and found.type == "cuda" else found


def _gpu(index: int) -> torch.device:
    """That of one of several workers, for all that it does from now on."""
    if index >= (count := torch.cuda.device_count()):
        raise invalid("workers", f"torch finds {count} GPUs here, and each worker needs one; or set device to cpu")
    torch.cuda.set_device(index)
    return torch.device("cuda", index)
