"""The training of one model by several workers: the same steps as of one, each on a share of their items.

All hold the same weights after each step, so that the first alone measures, tells and saves, and all resume from its
checkpoints. Random numbers of a step come from (seed, epoch, step, rank), so none need be kept.
"""

from collections.abc import Sequence
from socket import socket
from typing import TYPE_CHECKING, Any

from torch import Tensor

from library.base import Config, Model
from library.training.epochs import Training
from library.training.group import Exchange, Group
from library.training.place import Place
from library.training.random_state import seed_everything
from shared.training import TrainingOptions
from shared.worker import Seat

if TYPE_CHECKING:
    from library.base import Arrays


class SharedTraining(Training):
    """What one worker of a group does; only the first has metrics, insights and the best weights."""

    def __init__(
        self,
        seat: Seat,
        listening: socket | None,
        model: Model[Any],
        config: Config,
        seed: int,
        train: "Arrays",
        validation: "Arrays",
        options: TrainingOptions,
    ) -> None:
        place = Place(options, seat.index)
        self._group = Group(seat, listening, place.device)
        super().__init__(model, config, seed, train, validation, options, place)
        self._exchange = Exchange(self._group, self.module)
        self._has_ended = False

    @property
    def is_over(self) -> bool:
        """As the first worker sees it, who measures."""
        return super().is_over or self._has_ended

    def _steps(self) -> list[Sequence[Tensor]]:
        self._group.align(self.module)
        return super()._steps()

    def _gradient(self, batches: Sequence[Tensor], items: int) -> float:
        """As of one worker, but for the order in which is added up; raises Diverged in all workers alike."""
        seed_everything(self._seed, self.epoch + 1, self.step, self._group.rank)
        total = self._exchange.sum(super()._gradient(batches, items))
        self._guard.check(total / items, self.epoch + 1, self.step + 1)
        return total

    def _learn(self, places: Tensor, items: int) -> float:
        own = self._group.share(places)
        if not len(own):
            return 0.0
        batch = [column[own] for column in self._train]
        with self._place.learning():
            loss = self._model.loss(self.module(*batch[:-1]), batch[-1])
        self._place.backward(loss * (len(own) / items))
        return loss.item() * len(own)

    def _judge(self, loss: float) -> None:
        """The others wait for the first meanwhile."""
        if self._group.is_first:
            super()._judge(loss)
        self._has_ended = self._group.agree(self.is_over)
