"""Domain deployment: said by inference."""

from typing import ClassVar

from shared.events.base import Event, Int64


class DeploymentStaged(Event):
    """A version is loaded and ready, without traffic."""

    about: ClassVar[str] = "model"
    model: str = ""
    version: int = 0
    digest: str = ""
    triton_name: str = ""


class DeploymentFailed(Event):
    """A version could not be loaded."""

    about: ClassVar[str] = "model"
    model: str = ""
    version: int = 0
    digest: str = ""
    reason: str = ""


class TrafficSwitched(Event):
    """Requests that name no version are answered by this version now."""

    about: ClassVar[str] = "model"
    audited: ClassVar[bool] = True
    model: str = ""
    version: int = 0
    digest: str = ""
    previous_version: int | None = None
    epoch: Int64 = 0


class DeploymentUnstaged(Event):
    """A version was unloaded."""

    about: ClassVar[str] = "model"
    audited: ClassVar[bool] = True
    model: str = ""
    version: int = 0
    digest: str = ""
    reason: str = ""


class DeploymentReconciled(Event):
    """Triton's real state differed from the desired state and was brought back."""

    about: ClassVar[str] = "model"
    model: str = ""
    version: int = 0
    triton_name: str = ""
    expected: str = ""
    found: str = ""
    action: str = ""


class ResourcesChanged(Event):
    """Somebody wants other bounds for a model's instances, or wants its versions to stay in memory, or no longer."""

    about: ClassVar[str] = "model"
    audited: ClassVar[bool] = True
    model: str = ""
    instances_min: int = 0
    instances_max: int = 0
    pinned: bool = False
    actor: str = ""


class InstancesChanged(Event):
    """A node gives a version more instances or fewer."""

    about: ClassVar[str] = "model"
    model: str = ""
    version: int = 0
    node: str = ""
    previous: int = 0
    instances: int = 0
    reason: str = ""


class VersionParked(Event):
    """A node unloaded a version to save memory; it is loaded again when somebody asks it."""

    about: ClassVar[str] = "model"
    model: str = ""
    version: int = 0
    node: str = ""
    memory_bytes: Int64 = 0
    reason: str = ""


class VersionRestored(Event):
    """A node loaded a parked version again."""

    about: ClassVar[str] = "model"
    model: str = ""
    version: int = 0
    node: str = ""
    memory_bytes: Int64 = 0
    seconds: float = 0.0
    reason: str = ""
