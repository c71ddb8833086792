"""Domain identity: said by auth."""

from typing import ClassVar

from shared.events.base import Event


class ApiKeyCreated(Event):
    """An API key exists; the secret itself is never in an event."""

    about: ClassVar[str] = "key_id"
    key_id: str = ""
    name: str = ""
    roles: tuple[str, ...] = ()
    actor: str = ""


class ApiKeyRevoked(Event):
    """An API key is refused from now on."""

    about: ClassVar[str] = "key_id"
    key_id: str = ""
    name: str = ""
    actor: str = ""
