"""Our actors on the nodes of a Ray cluster, one for each worker of a task; all get room at once or none does."""

import time
from collections.abc import Iterator
from typing import Any

import ray
from ray import cloudpickle
from ray.util.placement_group import placement_group
from ray.util.scheduling_strategies import PlacementGroupSchedulingStrategy

from services.trainer.on_ray import foothold
from services.trainer.on_ray.order import Order, Unreachable
from services.trainer.on_ray.shipping import Item, code
from shared import child
from shared.worker import Reporter

LOOK_SECONDS = 2.0
SILENCE_SECONDS = 30.0
Files = dict[str, list[Any]]


class Footholds:
    """What works on the nodes, by rank; it ends with this process."""

    def __init__(self, order: Order, files: Files, reporter: Reporter) -> None:
        cloudpickle.register_pickle_by_value(foothold)
        self._order, self._files, self._reporter = order, files, reporter
        digest, archive = code()
        self._code = (digest, [ray.put(archive)])
        self._actors = [_actor(options) for options in self._rooms()]
        self._asked: dict[Any, tuple[int, float]] = {}

    def begin(self, ranks: range, meeting: str = "") -> None:
        """Start these workers on their nodes, once there are some that have what they take."""
        orders = [self._order.seated(rank, meeting) if rank else self._order for rank in ranks]
        told = [order.model_dump(mode="json", exclude={"token_file"}) for order in orders]
        actors = self._actors[ranks.start : ranks.stop]
        begun = [actor.begin.remote(*self._code, one, self._files) for actor, one in zip(actors, told, strict=True)]
        if not ray.wait(begun, num_returns=len(begun), timeout=LOOK_SECONDS)[0]:
            self._tell_waiting()
        for rank, address in zip(ranks, ray.get(begun), strict=True):
            who = f"worker {rank + 1} of {self._order.workers} " if self._order.workers > 1 else ""
            child.tell(self._reporter, f"{who}on the node {address} of the Ray cluster")
            self._ask(rank)

    def next(self) -> Iterator[tuple[int, Item]]:
        """What has come of some of them since, with their ranks; raises Unreachable where one is silent."""
        come, _ = ray.wait(list(self._asked), timeout=SILENCE_SECONDS)
        for answer in come:
            rank, _ = self._asked.pop(answer)
            items = ray.get(answer)
            self._ask(rank)
            yield from ((rank, item) for item in items)
        rank, since = min(self._asked.values(), key=lambda asked: asked[1])
        if time.monotonic() - since > SILENCE_SECONDS:
            raise Unreachable(f"the node of worker {rank + 1} does not answer for {SILENCE_SECONDS:.0f} s")

    def _ask(self, rank: int) -> None:
        self._asked[self._actors[rank].next.remote()] = (rank, time.monotonic())

    def _rooms(self) -> list[dict[str, Any]]:
        """What each actor takes; of several in a group, so that no two tasks wait for each other's half."""
        needs, workers = self._order.resources, self._order.workers
        taken = {"num_cpus": needs.cores, "num_gpus": needs.gpus, "memory": needs.memory}
        if workers == 1:
            return [taken]
        bundle = {"CPU": needs.cores, "GPU": needs.gpus, "memory": float(needs.memory)}
        group = placement_group([{name: value for name, value in bundle.items() if value}] * workers)
        if not group.wait(LOOK_SECONDS):
            self._tell_waiting()
            while not group.wait(SILENCE_SECONDS):
                pass
        places = [PlacementGroupSchedulingStrategy(group, index) for index in range(workers)]
        return [taken | {"scheduling_strategy": place} for place in places]

    def _tell_waiting(self) -> None:
        each = f" for each of {self._order.workers} workers" if self._order.workers > 1 else ""
        child.tell(self._reporter, f"waiting for {self._order.resources}{each} on the Ray cluster")


def _actor(options: dict[str, Any]) -> Any:
    return ray.remote(foothold.Foothold).options(**options, max_restarts=0, max_task_retries=0).remote()
