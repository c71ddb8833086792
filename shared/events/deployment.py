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
    model: str = ""
    version: int = 0
    digest: str = ""
    previous_version: int | None = None
    epoch: Int64 = 0


class DeploymentUnstaged(Event):
    """A version was unloaded."""

    about: ClassVar[str] = "model"
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
