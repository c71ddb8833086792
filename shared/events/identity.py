"""Domain identity: said by auth; roles, groups, grants, projects and shares stand in `rights`."""

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


class SessionStarted(Event):
    """A user logged in; no token is ever in an event."""

    about: ClassVar[str] = "user_id"
    audited: ClassVar[bool] = True
    session_id: str = ""
    user_id: str = ""
    name: str = ""
    address: str = ""
    actor: str = ""


class SessionReused(Event):
    """A refresh token was shown a second time: two people may have it, and the session ends."""

    about: ClassVar[str] = "user_id"
    audited: ClassVar[bool] = True
    session_id: str = ""
    user_id: str = ""
    name: str = ""
    address: str = ""


class SessionEnded(Event):
    """One session of a user ended before its time."""

    about: ClassVar[str] = "user_id"
    audited: ClassVar[bool] = True
    session_id: str = ""
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


class UserUnlocked(Event):
    """A user who failed to log in too often may try again at once."""

    about: ClassVar[str] = "user_id"
    audited: ClassVar[bool] = True
    user_id: str = ""
    name: str = ""
    actor: str = ""


class SecondFactorAdded(Event):
    """A user is asked for a code at each login from now on; no secret is ever in an event."""

    about: ClassVar[str] = "user_id"
    audited: ClassVar[bool] = True
    user_id: str = ""
    name: str = ""
    actor: str = ""


class SecondFactorRemoved(Event):
    """A user is asked for no code any more."""

    about: ClassVar[str] = "user_id"
    audited: ClassVar[bool] = True
    user_id: str = ""
    name: str = ""
    actor: str = ""


class RecoveryCodeUsed(Event):
    """A user logged in with a recovery code, of which so many are left."""

    about: ClassVar[str] = "user_id"
    audited: ClassVar[bool] = True
    user_id: str = ""
    name: str = ""
    codes_left: int = 0
    actor: str = ""


class ServiceAccountCreated(Event):
    """Software may ask in its own name; no secret is ever in an event."""

    about: ClassVar[str] = "account_id"
    audited: ClassVar[bool] = True
    account_id: str = ""
    name: str = ""
    roles: tuple[str, ...] = ()
    actor: str = ""


class ServiceAccountRotated(Event):
    """A service account has another secret; the one before goes on for a while."""

    about: ClassVar[str] = "account_id"
    audited: ClassVar[bool] = True
    account_id: str = ""
    name: str = ""
    actor: str = ""


class ServiceAccountDeleted(Event):
    """A service account and its tokens are refused from now on."""

    about: ClassVar[str] = "account_id"
    audited: ClassVar[bool] = True
    account_id: str = ""
    name: str = ""
    actor: str = ""


class IdentityProviderCreated(Event):
    """People may log in through a provider; no secret is ever in an event."""

    about: ClassVar[str] = "name"
    audited: ClassVar[bool] = True
    name: str = ""
    issuer: str = ""
    actor: str = ""


class IdentityProviderChanged(Event):
    """A provider has another secret, other roles for its groups, or lets nobody in any more."""

    about: ClassVar[str] = "name"
    audited: ClassVar[bool] = True
    name: str = ""
    disabled: bool = False
    actor: str = ""


class IdentityProviderDeleted(Event):
    """A provider through which nobody came is forgotten."""

    about: ClassVar[str] = "name"
    audited: ClassVar[bool] = True
    name: str = ""
    actor: str = ""


class InvitationCreated(Event):
    """A person is invited under this name; no token is ever in an event."""

    about: ClassVar[str] = "invitation_id"
    audited: ClassVar[bool] = True
    invitation_id: str = ""
    name: str = ""
    roles: tuple[str, ...] = ()
    actor: str = ""


class InvitationRevoked(Event):
    """An invitation counts no more."""

    about: ClassVar[str] = "invitation_id"
    audited: ClassVar[bool] = True
    invitation_id: str = ""
    name: str = ""
    actor: str = ""


class InvitationAccepted(Event):
    """Who was invited is a user now."""

    about: ClassVar[str] = "invitation_id"
    audited: ClassVar[bool] = True
    invitation_id: str = ""
    user_id: str = ""
    name: str = ""
    actor: str = ""
