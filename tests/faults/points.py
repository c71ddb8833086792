"""Every point of the main job at which a service commits, publishes or is answered: derived from its declaration."""

from dataclasses import dataclass
from importlib import import_module
from pathlib import Path

from shared.events import said_by
from shared.handlers import Handlers
from shared.streams import SERVICES

CHAIN = (
    "TrainingRequested",
    "TaskChanged",
    "TrainingStarted",
    "EpochCompleted",
    "TrainingCompleted",
    "VersionRegistered",
    "DeploymentStaged",
    "EvaluationRequested",
    "EvaluationCompleted",
    "VersionPromoted",
    "TrafficSwitched",
)

# Inference says this of batches alone, of which the main job has none.
BESIDE = {("inference", "TaskChanged")}


@dataclass(frozen=True)
class Point:
    """Where a service dies: right after it handled, answered, asked, committed or published something."""

    service: str
    moment: str
    name: str

    def __str__(self) -> str:
        return f"kill -9 {self.service} once {self.moment} {self.name}"

    def file(self, folder: Path) -> Path:
        return folder / self.service / f"{self.moment}-{self.name}"


def _handlers(service: str) -> Handlers:
    found: Handlers = import_module(f"services.{service}.handlers").HANDLERS
    return found


def _declared(service: str) -> list[Point]:
    """After each event of the chain that the service heard, and after each that it said."""
    heard = [event.__name__ for event in _handlers(service).events]
    said = [event.__name__ for event in said_by(service) if (service, event.__name__) not in BESIDE]
    return [Point(service, "handled", name) for name in CHAIN if name in heard] + [
        Point(service, "published", name) for name in CHAIN if name in said
    ]


# What no event says: requests, and the commits that a service makes of its own accord.
OWN = (
    Point("gateway", "asked", "SubmitTask"),
    Point("gateway", "asked", "GetTask"),
    Point("trainer", "answered", "SubmitTask"),
    Point("trainer", "answered", "GetTask"),
    Point("trainer", "published", "raw"),
    Point("trainer", "committed", "claim"),
    Point("trainer", "asked", "GetDataset"),
    Point("trainer", "committed", "nothing"),
    Point("trainer", "committed", "TrainingStarted"),
    Point("trainer", "committed", "renewal"),
    Point("trainer", "committed", "EpochCompleted"),
    Point("trainer", "committed", "TrainingCompleted"),
    Point("registry", "answered", "GetDataset"),
    Point("registry", "answered", "ListVersions"),
    Point("inference", "committed", "DeploymentStaged"),
    Point("inference", "committed", "TrafficSwitched"),
    Point("inference", "answered", "ListDeployments"),
    Point("evaluator", "published", "raw"),
    Point("evaluator", "committed", "claim"),
    Point("evaluator", "committed", "nothing"),
    Point("evaluator", "committed", "EvaluationCompleted"),
    Point("evaluator", "answered", "ListEvaluations"),
    Point("monitor", "answered", "GetTimeline"),
)
# Only a project's first training prepares its data set.
FIRST = (
    Point("trainer", "asked", "RegisterDataset"),
    Point("registry", "answered", "RegisterDataset"),
    Point("registry", "published", "DatasetRegistered"),
    Point("monitor", "handled", "DatasetRegistered"),
)
# Only a later version unstages the one before it.
LATER = (
    Point("inference", "committed", "DeploymentUnstaged"),
    Point("inference", "published", "DeploymentUnstaged"),
    Point("monitor", "handled", "DeploymentUnstaged"),
)
# Keys are made and revoked beside the main job.
KEYS = (
    Point("auth", "answered", "CreateApiKey"),
    Point("auth", "published", "ApiKeyCreated"),
    Point("auth", "answered", "RevokeApiKey"),
    Point("auth", "published", "ApiKeyRevoked"),
    Point("auth", "published", "raw"),
    Point("gateway", "asked", "CreateApiKey"),
    Point("gateway", "asked", "RevokeApiKey"),
    Point("monitor", "handled", "ApiKeyCreated"),
    Point("monitor", "handled", "ApiKeyRevoked"),
)
POINTS = tuple(point for service in SERVICES for point in _declared(service)) + OWN
