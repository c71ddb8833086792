"""Who may do what: the caller, API keys and users."""

from collections.abc import Sequence
from typing import TypedDict

from aimass import types as t
from aimass.calls import Call, call, get, nothing
from aimass.methods import method


class Me(TypedDict):
    """Whose key or token this is: a key or a user, of a project, what it permits, and until when it counts."""

    id: str
    kind: str
    project: str
    permissions: list[str]
    expires_at: str | None


class People:
    """What a client can do with keys and users."""

    @method
    def me(self) -> Call[Me]:
        """Whose key or token this is, and what it permits."""
        return get("me")

    @method
    def api_keys(self) -> Call[list[t.ApiKey]]:
        """The API keys of the project, without secrets."""
        return get("api-keys", take="keys")

    @method
    def create_api_key(
        self,
        name: str,
        roles: Sequence[str],
        *,
        expires_at: str | None = None,
        scopes: Sequence[str] | None = None,
        models: Sequence[str] = (),
        addresses: Sequence[str] = (),
        rate: float | None = None,
        burst: int | None = None,
        daily_requests: int | None = None,
    ) -> Call[t.NewApiKey]:
        """Make a key, as narrow as it may be; its secret is in this answer and nowhere else."""
        limits = {"rate": rate, "burst": burst, "daily_requests": daily_requests}
        narrowed = {"scopes": None if scopes is None else list(scopes), "models": list(models), **limits}
        body = {"name": name, "roles": list(roles), "expires_at": expires_at, "addresses": list(addresses)}
        return call("POST", "api-keys", json=body | narrowed)

    @method
    def rotate_api_key(self, key_id: str, *, overlap_seconds: int = 3600, key: str = "") -> Call[t.NewApiKey]:
        """Give a key another secret, in this answer alone; the one before counts for so many seconds more."""
        return call("POST", f"api-keys/{key_id}/rotate", json={"overlap_seconds": overlap_seconds}, key=key)

    @method
    def revoke_api_key(self, key_id: str) -> Call[t.ApiKey]:
        """Let a key count no more."""
        return call("DELETE", f"api-keys/{key_id}")

    @method
    def users(self) -> Call[list[t.User]]:
        """The people who may log in."""
        return get("users", take="users")

    @method
    def create_user(self, name: str, roles: Sequence[str]) -> Call[t.NewUser]:
        """Let a person log in; the first password is in this answer and nowhere else."""
        return call("POST", "users", json={"name": name, "roles": list(roles)})

    @method
    def update_user(
        self, user_id: str, *, roles: Sequence[str] | None = None, disabled: bool | None = None
    ) -> Call[t.User]:
        """Give a user other roles; disable one, which ends all sessions, or enable again."""
        body = {"roles": None if roles is None else list(roles), "disabled": disabled}
        return call("PATCH", f"users/{user_id}", json=body)

    @method
    def reset_password(self, user_id: str) -> Call[t.NewUser]:
        """Make another password for a user who lost it; all sessions end."""
        return call("POST", f"users/{user_id}/password")

    @method
    def change_password(self, current: str, new: str) -> Call[None]:
        """Take another password; all sessions end, this one too."""
        return nothing("PUT", "me/password", json={"current_password": current, "new_password": new})
