"""Sessions, second factors, service accounts and invitations."""

from collections.abc import Sequence
from typing import TypedDict

from aimass.calls import Call, call, get, nothing
from aimass.methods import method


class LastingSession(TypedDict):
    """A session that lasts: since when, when and from where it was used last, and when it ends if nobody uses it."""

    id: str
    created_at: str
    last_used_at: str
    ends_at: str
    address: str


class Totp(TypedDict):
    """Whether a code is asked for at each login, and how many recovery codes are left."""

    enabled: bool
    recovery_codes_left: int


class TotpBegun(TypedDict):
    """The secret for an authenticator app, as text and as what a picture of squares would hold."""

    secret: str
    uri: str


class ServiceAccount(TypedDict):
    """Software that asks in its own name; its id is its client id. `secrets` are when those that count were made."""

    id: str
    name: str
    project: str
    roles: list[str]
    created_by: str
    created_at: str | None
    secrets: list[str]


class NewServiceAccount(ServiceAccount):
    """A service account with a secret, which is shown this once."""

    client_secret: str


class Invitation(TypedDict):
    """An invitation that nobody accepted yet, until when it counts, and for whom."""

    id: str
    name: str
    project: str
    roles: list[str]
    created_by: str
    created_at: str | None
    ends_at: str


class NewInvitation(Invitation):
    """An invitation with its token, which is shown this once."""

    token: str


class Identity:
    """What a client can do with the own session and factor, and for others who are to get in."""

    @method
    def sessions(self) -> Call[list[LastingSession]]:
        """Your sessions that last, the one used last first."""
        return get("me/sessions", take="sessions")

    @method
    def end_session(self, session_id: str) -> Call[None]:
        """End one of your sessions, on every gateway."""
        return nothing("DELETE", f"me/sessions/{session_id}")

    @method
    def log_out(self) -> Call[None]:
        """End the session that this client is in."""
        return nothing("POST", "logout")

    @method
    def totp(self) -> Call[Totp]:
        """Whether you are asked for a code at each login."""
        return get("me/totp")

    @method
    def begin_totp(self) -> Call[TotpBegun]:
        """A secret for an authenticator app; it counts once a code confirms it."""
        return call("POST", "me/totp")

    @method
    def confirm_totp(self, code: str) -> Call[list[str]]:
        """Be asked for a code at each login from now on; the recovery codes that come back are shown this once."""
        return call("PUT", "me/totp", json={"code": code}, take="recovery_codes")

    @method
    def remove_totp(self, code: str) -> Call[None]:
        """Be asked for no code any more; a code, or a recovery code, proves that it is you."""
        return nothing("DELETE", "me/totp", json={"code": code})

    @method
    def remove_totp_of(self, user_id: str) -> Call[None]:
        """Ask a user who lost the app for no code any more."""
        return nothing("DELETE", f"users/{user_id}/totp")

    @method
    def unlock_user(self, user_id: str) -> Call[None]:
        """Let a user who failed to log in too often try again at once."""
        return nothing("DELETE", f"users/{user_id}/lock")

    @method
    def service_accounts(self) -> Call[list[ServiceAccount]]:
        """The service accounts of the project by name."""
        return get("service-accounts", take="accounts")

    @method
    def create_service_account(self, name: str, roles: Sequence[str]) -> Call[NewServiceAccount]:
        """Let software ask in its own name; its secret is in this answer and nowhere else."""
        return call("POST", "service-accounts", json={"name": name, "roles": list(roles)})

    @method
    def rotate_service_account(self, account_id: str, *, overlap_seconds: int = 86400) -> Call[NewServiceAccount]:
        """Make another secret; the one before goes on to count for so many seconds."""
        path = f"service-accounts/{account_id}/secret"
        return call("POST", path, json={"overlap_seconds": overlap_seconds})

    @method
    def delete_service_account(self, account_id: str) -> Call[None]:
        """Refuse a service account and its tokens from now on."""
        return nothing("DELETE", f"service-accounts/{account_id}")

    @method
    def invitations(self) -> Call[list[Invitation]]:
        """The invitations of the project that still count."""
        return get("invitations", take="invitations")

    @method
    def invite(self, name: str, roles: Sequence[str], *, ends_at: str | None = None) -> Call[NewInvitation]:
        """Invite a person, for three days if no end is given; the token is in this answer and nowhere else."""
        return call("POST", "invitations", json={"name": name, "roles": list(roles), "ends_at": ends_at})

    @method
    def revoke_invitation(self, invitation_id: str) -> Call[None]:
        """Let an invitation count no more."""
        return nothing("DELETE", f"invitations/{invitation_id}")
