"""Domain identity: said by auth."""

from typing import ClassVar

from shared.events.base import Event, Timestamp


class ApiKeyCreated(Event):
    """An API key exists; the secret itself is never in an event."""

    about: ClassVar[str] = "key_id"
    audited: ClassVar[bool] = True
    key_id: str = ""
    name: str = ""
    roles: tuple[str, ...] = ()
    actor: str = ""


class ApiKeyRevoked(Event):
    """An API key is refused from now on."""

    about: ClassVar[str] = "key_id"
    audited: ClassVar[bool] = True
    key_id: str = ""
    name: str = ""
    actor: str = ""


class ApiKeyRotated(Event):
    """An API key has another secret; the one before counts until then."""

    about: ClassVar[str] = "key_id"
    audited: ClassVar[bool] = True
    key_id: str = ""
    name: str = ""
    old_counts_until: Timestamp | None = None
    actor: str = ""


class UserCreated(Event):
    """A person may log in; no password is ever in an event."""

    about: ClassVar[str] = "user_id"
    audited: ClassVar[bool] = True
    user_id: str = ""
    name: str = ""
    roles: tuple[str, ...] = ()
    actor: str = ""


class UserRolesChanged(Event):
    """A user has these roles from now on, also in sessions that last."""

    about: ClassVar[str] = "user_id"
    audited: ClassVar[bool] = True
    user_id: str = ""
    name: str = ""
    roles: tuple[str, ...] = ()
    actor: str = ""


class UserDisabled(Event):
    """A user may not log in any more, and all sessions ended."""

    about: ClassVar[str] = "user_id"
    audited: ClassVar[bool] = True
    user_id: str = ""
    name: str = ""
    actor: str = ""


class UserEnabled(Event):
    """A user who was disabled may log in again."""

    about: ClassVar[str] = "user_id"
    audited: ClassVar[bool] = True
    user_id: str = ""
    name: str = ""
    actor: str = ""


class PasswordChanged(Event):
    """A user has another password, and all sessions ended."""

    about: ClassVar[str] = "user_id"
    audited: ClassVar[bool] = True
    user_id: str = ""
    name: str = ""
    actor: str = ""


class SigningKeyRotated(Event):
    """Tokens are signed with another key from now on; older keys count until the last of their tokens ends."""

    about: ClassVar[str] = "kid"
    audited: ClassVar[bool] = True
    kid: str = ""
    actor: str = ""


class ExtensionRegistered(Event):
    """Software of others may hear and say these from now on; its password is never in an event."""

    about: ClassVar[str] = "extension_id"
    audited: ClassVar[bool] = True
    extension_id: str = ""
    name: str = ""
    hears: tuple[str, ...] = ()
    says: tuple[str, ...] = ()
    actor: str = ""


class ExtensionChanged(Event):
    """An extension hears and says these from now on, or is shut out, and was cut off to come in again."""

    about: ClassVar[str] = "extension_id"
    audited: ClassVar[bool] = True
    extension_id: str = ""
    name: str = ""
    hears: tuple[str, ...] = ()
    says: tuple[str, ...] = ()
    disabled: bool = False
    actor: str = ""


class ExtensionPasswordRotated(Event):
    """An extension has another password; who came in with the old one was cut off."""

    about: ClassVar[str] = "extension_id"
    audited: ClassVar[bool] = True
    extension_id: str = ""
    name: str = ""
    actor: str = ""


class ExtensionDeleted(Event):
    """An extension may neither hear nor say anything any more."""

    about: ClassVar[str] = "extension_id"
    audited: ClassVar[bool] = True
    extension_id: str = ""
    name: str = ""
    actor: str = ""
