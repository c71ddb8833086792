"""Domain models: said by registry."""

from typing import Any, ClassVar

from shared.events.base import Event
from shared.events.common import GateCondition, Signature


class DatasetRegistered(Event):
    """A data set's parts are kept as artifacts."""

    about: ClassVar[str] = "dataset"
    dataset: str = ""
    digest: str = ""
    parts: dict[str, str] = {}


class VersionRegistered(Event):
    """A model has a new version; carries what staging and evaluation need, and which version it was made of."""

    about: ClassVar[str] = "model"
    model: str = ""
    version: int = 0
    digest: str = ""
    task_id: str = ""
    task_type: str = ""
    dataset: str = ""
    dataset_digest: str = ""
    dataset_parts: dict[str, str] = {}
    labels: tuple[str, ...] = ()
    signature: Signature = Signature()
    gate: tuple[GateCondition, ...] = ()
    metrics: dict[str, float] = {}
    parameters: dict[str, Any] = {}
    auto_promote: bool = False
    source: str = ""
    actor: str = ""
    derived_from: int | None = None


class VersionPromoted(Event):
    """An alias points at another version now; forced means without a passed evaluation, for the reason given."""

    about: ClassVar[str] = "model"
    audited: ClassVar[bool] = True
    model: str = ""
    version: int = 0
    digest: str = ""
    alias: str = ""
    previous_version: int | None = None
    evaluation_id: str = ""
    actor: str = ""
    forced: bool = False
    reason: str = ""


class PromotionRefused(Event):
    """A promotion was not made; stale means that the champion changed since the comparison."""

    about: ClassVar[str] = "model"
    model: str = ""
    version: int = 0
    digest: str = ""
    evaluation_id: str = ""
    reason: str = ""
    stale: bool = False


class ModelArchived(Event):
    """A model was hidden from lists; none of its versions can be promoted."""

    about: ClassVar[str] = "model"
    audited: ClassVar[bool] = True
    model: str = ""
    actor: str = ""


class ModelUnarchived(Event):
    """A model is shown again."""

    about: ClassVar[str] = "model"
    audited: ClassVar[bool] = True
    model: str = ""
    actor: str = ""


class VersionArchived(Event):
    """A version was hidden from lists and cannot be promoted."""

    about: ClassVar[str] = "model"
    audited: ClassVar[bool] = True
    model: str = ""
    version: int = 0
    digest: str = ""
    actor: str = ""


class VersionUnarchived(Event):
    """A version is shown again."""

    about: ClassVar[str] = "model"
    audited: ClassVar[bool] = True
    model: str = ""
    version: int = 0
    digest: str = ""
    actor: str = ""


class VersionDeleted(Event):
    """A version is gone; its number is never given again, its artifact may be collected."""

    about: ClassVar[str] = "model"
    audited: ClassVar[bool] = True
    model: str = ""
    version: int = 0
    digest: str = ""
    actor: str = ""


class ModelTagged(Event):
    """A model has these tags and no others now; grants may be limited to models by their tags."""

    about: ClassVar[str] = "model"
    audited: ClassVar[bool] = True
    model: str = ""
    tags: tuple[str, ...] = ()
    actor: str = ""
