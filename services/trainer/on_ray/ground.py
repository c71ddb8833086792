"""A Ray cluster as a place for tasks, as the service sees it; it imports no Ray."""

from dataclasses import dataclass

from pydantic import BaseModel

from services.trainer.on_ray.order import Order
from services.trainer.settings import Settings
from shared.errors import InvalidInput
from shared.tasks.grounds import Ground, Spec, Start
from shared.tasks.store import Task
from shared.tasks.terms import Place, Resources, Terms, needs

LAUNCHER = "services.trainer.on_ray.launcher"


@dataclass(frozen=True)
class RayGround(Ground):
    """A launcher is our child, and the module a child of a process of Ray's on some node."""

    place = Place.RAY
    settings: Settings

    @classmethod
    def of(cls, settings: Settings) -> "RayGround":
        whole = Resources(cores=settings.ray_cores, memory=settings.ray_memory, gpus=settings.ray_gpus)
        return cls(f"ray:{settings.ray_address}", whole, settings)

    def start(self, task: Task, module: str, spec: Spec, threads: int) -> Start:
        token_file, seat = self.settings.ray_token_file, getattr(spec, "seat", None)
        order = Order(
            task_id=task.id,
            address=self.settings.ray_address,
            token_file=str(token_file) if token_file else None,
            module=module,
            spec=spec.model_dump(mode="json") if isinstance(spec, BaseModel) else spec,
            threads=threads,
            resources=needs(task.kind, task.terms) / (seat.workers if seat else 1),
            memory=task.terms.limits.memory,
            started=task.started_at,
        )
        return Start(LAUNCHER, order, self.settings.task_memory, str(self.settings.ray_python), is_watched=False)


def check_place(terms: Terms, settings: Settings) -> None:
    """Raises InvalidInput where the terms ask for a place that is not there, or for what it cannot give."""
    if terms.place is not Place.RAY:
        return
    if not settings.ray_address:
        raise InvalidInput(
            "place: no Ray cluster is set (TRAINER_RAY_ADDRESS); leave it out, or say local", field="place"
        )
    for name in ("cores", "gpus"):
        wanted = getattr(terms.resources or Resources(), name)
        if wanted > 1 and wanted % 1:
            field = f"resources.{name}"
            raise InvalidInput(f"{field}: Ray gives fractions only below 1, not {wanted:g}", field=field)
