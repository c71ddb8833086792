"""How good the weights of a training are on its validation part."""

from typing import Any

import torch
from torch import Tensor, nn

from library.base import Model
from library.training.insights import has_insights, insights_of
from library.training.place import Place

SCORING_BATCH = 1024


class Validation:
    """The validation part: inputs of the module, and the target."""

    def __init__(self, model: Model[Any], inputs: tuple[Tensor, ...], target: Tensor, place: Place) -> None:
        self._model, self._inputs, self._target, self._place = model, inputs, target, place

    @torch.no_grad()
    def outputs(self, module: nn.Module) -> Tensor:
        """Computed as they are served: in full precision, whatever the training has."""
        module.eval()
        batches = zip(*(torch.split(column, SCORING_BATCH) for column in self._inputs), strict=True)
        device = self._place.device
        with self._place.computing():
            return torch.cat([module(*(column.to(device) for column in batch)).cpu() for batch in batches])

    @torch.no_grad()
    def metrics(self, outputs: Tensor, *, with_loss: bool) -> dict[str, float]:
        loss = {"loss": self._model.loss(outputs, self._target).item()} if with_loss else {}
        figures = loss | self._model.metrics(outputs, self._target)
        return {f"validation_{name}": value for name, value in figures.items()}

    @property
    def has_insights(self) -> bool:
        return has_insights(self._model)

    def insights(self, outputs: Tensor) -> dict[str, Any] | None:
        """A look at the answers, where they are scores of the labels: a classifier may be trained on something else."""
        labels = self._model.labels
        scores = outputs.ndim == 2 and (not labels or outputs.shape[1] == len(labels))
        return insights_of(self._model, outputs, self._target) if self.has_insights and scores else None
