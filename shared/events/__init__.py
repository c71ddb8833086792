"""Every event of the platform, by domain; DOMAINS says which services publish it."""

from shared.events import (
    alarms,
    bus,
    deployment,
    evaluation,
    identity,
    inference,
    models,
    pipelines,
    predictions,
    quotas,
    rights,
    storage,
    tasks,
    training,
    usage,
)
from shared.events.base import Event, events_of

EVERY_SERVICE = "*"
DOMAINS: dict[str, tuple[str, ...]] = {
    "identity": ("auth",),
    "models": ("registry",),
    "training": ("trainer",),
    "pipelines": ("trainer",),
    "deployment": ("inference",),
    "inference": ("inference",),
    "evaluation": ("evaluator",),
    "tasks": ("trainer", "evaluator", "inference"),
    "predictions": ("inference",),
    "bus": ("monitor",),
    "usage": ("gateway",),
    "storage": ("registry",),
    "quotas": ("monitor",),
    "alarms": (EVERY_SERVICE,),
}

_MODULES = (
    *(identity, rights, models, training, pipelines, deployment, inference, evaluation),
    *(tasks, predictions, bus, usage, storage, quotas, alarms),
)
EVENTS: dict[str, type[Event]] = {event.type_name(): event for module in _MODULES for event in events_of(module)}


def said_by(service: str) -> tuple[type[Event], ...]:
    """The events that a service may publish."""
    return tuple(event for event in EVENTS.values() if {service, EVERY_SERVICE} & {*DOMAINS[event.domain()]})
