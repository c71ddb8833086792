"""What a node gives its versions, as Prometheus and the page of inference show it."""

from typing import Any

from prometheus_client import Gauge

from services.inference.domain import Routing

LABELS = ["project", "model", "version"]
INSTANCES = Gauge("aimass_model_instances", "Instances of a version on this node; none while it is parked", LABELS)
MEMORY = Gauge("aimass_model_memory_bytes", "What a version takes on this node, measured or estimated", LABELS)
PARKED = Gauge("aimass_models_parked", "Versions that are unloaded until somebody asks them")
BUDGET = Gauge("aimass_model_memory_budget_bytes", "What all versions of this node may take; 0 has no end")


def show(routing: Routing, facts: dict[str, dict[str, Any]]) -> None:
    INSTANCES.clear()
    MEMORY.clear()
    PARKED.set(len(routing.parked))
    for name, fact in facts.items():
        INSTANCES.labels(*name.split(".")).set(fact["instances"])
        MEMORY.labels(*name.split(".")).set(fact["memory_bytes"])
