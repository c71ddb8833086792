"""Who asks, and whether they may: API keys and access tokens against memory, permissions against roles."""

import time
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from services.gateway import metrics
from services.gateway.credentials import CredentialCache, Principal
from services.gateway.tokens import LONGEST_TOKEN, Tokens
from shared.credentials import key_digest
from shared.errors import Forbidden, NotFound, QuotaUsedUp, Unauthenticated, Unavailable
from shared.grants import NO_MODEL, HeldGrant, is_bound_by_tags
from shared.keys import KEY_PREFIX, is_mistyped
from shared.names import DEFAULT_PROJECT
from shared.permissions import Permission
from shared.sharing import Level
from shared.tokens import user_name

LONGEST_KEY = 200
WITHOUT_FACTOR = frozenset({Permission.PASSWORD_CHANGE})
OVER = "this session has ended: log in again"


class Gatekeeper:
    """Knows a caller by the API key or the access token in the Authorization header."""

    def __init__(self, cache: CredentialCache) -> None:
        self._cache = cache
        self._tokens = Tokens(cache.signing_key)

    def identify(self, headers: dict[bytes, bytes]) -> Principal:
        """The owner of the key, or the user of the token with the roles of now.

        Raises Unauthenticated for none, an unknown, a revoked or an expired one; Forbidden for one of a project that
        is archived; Unavailable while the memory of
        credentials is not loaded or not fresh.
        """
        given = _bearer(headers)
        if problem := self._cache.problem():
            raise Unavailable(f"API keys and tokens cannot be checked now: {problem}")
        principal = self._owner(given) if given.startswith(KEY_PREFIX) else self._user(given)
        if self._cache.is_archived(principal.project):
            metrics.REFUSED.labels("archived").inc()
            raise Forbidden(f"the project '{principal.project}' is archived: the platform's people can restore it")
        return principal

    def key_name(self, headers: Mapping[bytes, bytes]) -> str:
        """The entry of the API key that is shown; empty for a token, and for a key that is not known."""
        given = _shown(headers)
        if not given.startswith(KEY_PREFIX) or len(given) > LONGEST_KEY or is_mistyped(given):
            return ""
        name = key_digest(given)
        return name if self._cache.find(name) else ""

    def owner(self, name: str) -> Principal | None:
        """Who has this entry of an API key; None wherever `identify` lets nobody in."""
        found = None if self._cache.problem() else self.known(name, "")
        return None if found is None or self._cache.is_archived(found.project) else found

    def _owner(self, key: str) -> Principal:
        principal = self._cache.find(key_digest(key))
        if principal is None:
            raise _unknown(key)
        if principal.expires is not None and principal.expires <= time.time():
            raise _refused("expired", "this API key has expired")
        return principal

    def _user(self, token: str) -> Principal:
        try:
            claims = self._tokens.read(token)
        except Unauthenticated as error:
            raise _refused("token", error.message) from None
        user = self._cache.find(user_name(claims.sub), claims.project)
        if user is None or (user.epoch or 0) > claims.epoch or claims.sid in user.ended:
            raise _refused("ended", OVER)
        if claims.needs_factor:
            user = replace(user, permissions=WITHOUT_FACTOR & user.permissions, held=())
        return replace(user, expires=claims.exp, epoch=claims.epoch, session=claims.sid)

    def signing_keys(self) -> list[dict[str, Any]]:
        """The public keys, as others may read them.

        Raises Unavailable while they are not loaded or not fresh.
        """
        if problem := self._cache.problem():
            raise Unavailable(f"the keys that sign tokens are not known now: {problem}")
        return [key.document for key in self._cache.signing_keys()]

    def known(self, name: str, project: str) -> Principal | None:
        """Who has this entry of the bucket, working in a project; None for who counts no more."""
        found = self._cache.find(name, project)
        return None if found is None or (found.expires is not None and found.expires <= time.time()) else found

    def reach(self, principal: Principal, name: str, level: Level) -> tuple[str, str]:
        """Project and model of `<project>.<model>`.

        Raises NotFound for one that is not shared with the caller, as for one that there is not.
        """
        owner, _, model = name.partition(".")
        if owner != principal.project:
            shared = self._cache.shared(owner, model)
            if shared is None or not shared.allows(principal.project, level):
                raise NotFound(f"there is no model '{name[:130]}'", field="model")
        return owner, model

    def check_room(self, project: str) -> None:
        """Raises QuotaUsedUp while a project keeps as much as it may."""
        if (full := self._cache.is_full(project)) is not None:
            raise QuotaUsedUp(full.told())

    def is_valid(self, principal: Principal) -> bool:
        """Whether the key or the session still counts; for answers that last."""
        current = self._cache.find(principal.name, principal.project)
        if current is None or (current.epoch or 0) > (principal.epoch or 0) or principal.session in current.ended:
            return False
        if self._cache.is_archived(principal.project):
            return False
        return principal.expires is None or principal.expires > time.time()


def authorise(principal: Principal, permission: Permission, model: str = "", alias: str = "") -> None:
    """Raises Forbidden when neither a role nor a grant of the caller permits this, with this model and this alias."""
    if permission in principal.permissions or (
        principal.held and any(held.allows(permission, model, alias) for held in principal.held)
    ):
        if principal.rules is not None:
            principal.rules.check(permission, model)
        return
    metrics.REFUSED.labels("forbidden").inc()
    if principal.rules is not None:
        principal.rules.check_scope(permission)
    raise Forbidden(refusal(principal, permission, model, alias))


def check_sets_tags(principal: Principal) -> None:
    """Raises Forbidden for who may do something with models of some tags alone, and would say which these are."""
    if is_bound_by_tags(principal.permissions, ((held.grant, held.permissions) for held in principal.held)):
        metrics.REFUSED.labels("forbidden").inc()
        raise Forbidden("who has a grant for models of some tags alone cannot set tags: ask who has none such")


def refusal(principal: Principal, permission: Permission, model: str = "", alias: str = "") -> str:
    """Why somebody may not do this, in a sentence."""
    needed = f"this needs the permission '{permission.value}', which "
    limited = [held.grant for held in principal.held if permission in held.permissions]
    if not limited:
        return needed + "your roles do not grant"
    asked = (f"model '{model[:64]}'" if model else NO_MODEL) + (f" and alias '{alias}'" if alias else "")
    return needed + f"you have for {'; or for '.join(_limits(grant) for grant in limited[:5])}; asked was {asked}"


def _limits(grant: HeldGrant) -> str:
    return f"{grant.condition} (grant {grant.id})"


def authorise_platform(principal: Principal) -> None:
    """Raises Forbidden for who is of a project other than the one whose administrators run the platform."""
    if principal.project != DEFAULT_PROJECT:
        metrics.REFUSED.labels("forbidden").inc()
        raise Forbidden(f"this is of the whole platform: only people of the project '{DEFAULT_PROJECT}' may")


def _shown(headers: Mapping[bytes, bytes]) -> str:
    scheme, _, given = headers.get(b"authorization", b"").decode("latin-1").partition(" ")
    return given if scheme.lower() == "bearer" else ""


def _bearer(headers: dict[bytes, bytes]) -> str:
    given = _shown(headers)
    if not given:
        raise _refused("anonymous", None)
    if len(given) > (LONGEST_KEY if given.startswith(KEY_PREFIX) else LONGEST_TOKEN):
        raise _refused("malformed", "this is neither an API key nor an access token of ours: it is too long")
    return given


def _unknown(key: str) -> Unauthenticated:
    """The checksum takes longer than to find a key, so that it is looked at where none was found."""
    if is_mistyped(key):
        return _refused("mistyped", "this API key is unknown: its checksum is wrong, so it was not copied whole")
    return _refused("unknown", "this API key is unknown or revoked")


def _refused(reason: str, message: str | None) -> Unauthenticated:
    metrics.REFUSED.labels(reason).inc()
    return Unauthenticated(message)
