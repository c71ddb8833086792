"""What auth answers: load, decide, save, say; every change reaches the gateways through the outbox."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime

from services.auth import domain, entries, store, tokens, users
from services.auth.accounts.handlers import ACCOUNT_RPC
from services.auth.extensions.handlers import EXTENSION_RPC
from services.auth.extensions.office import Office
from services.auth.factors.desk import FactorDesk
from services.auth.factors.handlers import FACTOR_RPC
from services.auth.grants import desk
from services.auth.grants.granting import GRANTING_RPC
from services.auth.grants.groups import GROUP_RPC
from services.auth.grants.roles import ROLE_RPC
from services.auth.invitations.desk import InvitationDesk
from services.auth.invitations.handlers import INVITATION_RPC
from services.auth.keyring import SigningKeys
from services.auth.keys.handlers import KEY_RPC, forget_rotated
from services.auth.login import Doorman
from services.auth.oidc.desk import OidcDesk
from services.auth.oidc.handlers import OIDC_MEMORY_RPC, OIDC_RPC
from services.auth.passwords import Passwords
from services.auth.projects.handlers import PROJECT_RPC
from services.auth.sessions.desk import SessionDesk
from services.auth.sessions.handlers import SESSION_MEMORY_RPC, SESSION_RPC
from services.auth.users import User
from shared.callout import CALLOUT_SUBJECT
from shared.credentials import key_digest
from shared.events.identity import (
    ApiKeyCreated,
    ApiKeyRevoked,
    PasswordChanged,
    SigningKeyRotated,
    UserCreated,
    UserDisabled,
    UserEnabled,
    UserRolesChanged,
    UserUnlocked,
)
from shared.handlers import Handlers
from shared.keys import bounds_of, new_secret
from shared.rpc import auth as rpc
from shared.rpc import factors as factor_rpc
from shared.rpc import sessions as session_rpc
from shared.rpc.base import Done
from shared.rpc.invitations import AcceptInvitation
from shared.streams import (
    CHANGED_SUBJECT,
    CREDENTIAL_SUBJECT,
    CREDENTIALS,
    EXTENSION_EVENTS,
    EXTENSION_INTAKE,
    REVOKED_SUBJECT,
)
from shared.work import Work

VERBS = ("CREATE.EVT.>", "DELETE.EVT.>", "INFO.EVT.>", "LIST.EVT")
CONSUMERS = tuple(f"$JS.API.CONSUMER.{verb}" for verb in VERBS)


@dataclass(frozen=True)
class Parts:
    """`broadcast` tells every gateway at once, over core NATS."""

    broadcast: Callable[[str, bytes], Awaitable[None]]
    passwords: Passwords
    doorman: Doorman
    signing_keys: SigningKeys
    sessions: SessionDesk
    factors: FactorDesk
    invitations: InvitationDesk
    oidc: OidcDesk
    office: Office | None = None

    async def look(self) -> None:
        """Let every gateway read at once what is new in the bucket."""
        await self.broadcast(CHANGED_SUBJECT, b"")


async def create_api_key(request: rpc.CreateApiKey, work: Work[Parts]) -> rpc.ApiKeyCreated:
    secret = new_secret()
    key = domain.draft(
        secret,
        project=work.project,
        name=request.name,
        roles=request.roles,
        created_by=work.context.actor,
        now=datetime.now(UTC),
        expires_at=request.expires_at,
        bounds=bounds_of(request),
    )
    await desk.check_may_give(work, key.roles)
    await store.insert(work.tx, key)
    await entries.put_api_key(work, key)
    work.say(ApiKeyCreated(key_id=key.id, name=key.name, roles=key.roles, actor=key.created_by))
    return rpc.ApiKeyCreated(**key.view().model_dump(), secret=secret)


async def list_api_keys(_: rpc.ListApiKeys, work: Work[Parts]) -> rpc.ApiKeyList:
    return rpc.ApiKeyList(keys=[key.view() for key in await store.list_keys(work.tx, work.project)])


async def revoke_api_key(request: rpc.RevokeApiKey, work: Work[Parts]) -> rpc.ApiKeyView:
    """A repeat tells the gateways again, which is harmless."""
    async with desk.keeping_admins(work.tx):
        admins = await store.lock_admins(work.tx, work.project)
        key = await store.lock(work.tx, work.project, request.key_id)
        revoked = domain.revoke(key, admins, datetime.now(UTC))
        if key.revoked_at is None:
            await store.save_revoked(work.tx, revoked)
    if key.revoked_at is None:
        work.say(ApiKeyRevoked(key_id=key.id, name=key.name, actor=work.context.actor))
    entries.remove_api_key(work, key)
    digests = [key.digest, *await forget_rotated(work, key)]
    work.then(lambda: work.parts.broadcast(REVOKED_SUBJECT, " ".join(digests).encode()))
    return revoked.view()


async def put_user(work: Work[Parts], user: User) -> None:
    """Give the user to the gateways, and let them look at once."""
    await entries.put_user(work, user)
    work.then(work.parts.look)


async def create_user(request: rpc.CreateUser, work: Work[Parts]) -> rpc.UserWithPassword:
    password, by, now = users.make_password(), work.context.actor, datetime.now(UTC)
    password_hash = await work.parts.passwords.hash(password)
    user = users.draft(request.name, request.roles, password_hash, project=work.project, by=by, now=now)
    await desk.check_may_give(work, user.roles)
    await store.insert_user(work.tx, user)
    await put_user(work, user)
    work.say(UserCreated(user_id=user.id, name=user.name, roles=user.roles, actor=by))
    return rpc.UserWithPassword(**user.view().model_dump(), password=password)


async def list_users(_: rpc.ListUsers, work: Work[Parts]) -> rpc.UserList:
    return rpc.UserList(users=[user.view() for user in await store.list_users(work.tx, work.project)])


async def update_user(request: rpc.UpdateUser, work: Work[Parts]) -> rpc.UserView:
    async with desk.keeping_admins(work.tx):
        user = await store.lock_user(work.tx, work.project, request.user_id)
        changed = replace(user, roles=users.ordered(request.roles or user.roles))
        await desk.check_may_give(work, {*user.roles, *changed.roles})
        if request.disabled is not None:
            changed = users.disabled(changed, datetime.now(UTC)) if request.disabled else users.enabled(changed)
        await store.save_user(work.tx, changed)
    await put_user(work, changed)
    say_changes(work, user, changed)
    return changed.view()


def say_changes(work: Work[Parts], before: User, after: User) -> None:
    about = {"user_id": after.id, "name": after.name, "actor": work.context.actor}
    if after.roles != before.roles:
        work.say(UserRolesChanged(roles=after.roles, **about))
    if after.disabled_at and not before.disabled_at:
        work.say(UserDisabled(**about))
    if before.disabled_at and not after.disabled_at:
        work.say(UserEnabled(**about))


async def reset_password(request: rpc.ResetPassword, work: Work[Parts]) -> rpc.UserWithPassword:
    password = users.make_password()
    password_hash = await work.parts.passwords.hash(password)
    found = await store.lock_user(work.tx, work.project, request.user_id)
    await desk.check_may_stand_for(work, "user", found)
    user = users.with_password(found, password_hash)
    await store.save_user(work.tx, user)
    await put_user(work, user)
    work.say(PasswordChanged(user_id=user.id, name=user.name, actor=work.context.actor))
    return rpc.UserWithPassword(**user.view().model_dump(), password=password)


async def unlock(request: factor_rpc.Unlock, work: Work[Parts]) -> Done:
    user = await store.lock_user(work.tx, work.project, request.user_id)
    await store.forget_attempts(work.tx, key_digest(user.name))
    work.say(UserUnlocked(user_id=user.id, name=user.name, actor=work.context.actor))
    return Done()


async def rotate_signing_key(_: rpc.RotateSigningKey, work: Work[Parts]) -> rpc.SigningKeyView:
    """The gateways learn the key before it signs."""
    key = await work.parts.signing_keys.rotate(work)
    work.then(work.parts.look)
    work.say(SigningKeyRotated(kid=key.kid, actor=work.context.actor))
    made = key.created_at
    return rpc.SigningKeyView(kid=key.kid, signs_from=made + tokens.LEAD, older_count_until=made + tokens.GRACE)


async def login(request: session_rpc.Login, parts: Parts) -> rpc.LoggedIn:
    return await parts.doorman.log_in(request)


async def change_password(request: rpc.ChangePassword, parts: Parts) -> Done:
    return await parts.doorman.change_password(request)


async def remove_own_totp(request: factor_rpc.RemoveOwnTotp, parts: Parts) -> Done:
    return await parts.doorman.remove_factor(request)


async def accept_invitation(request: AcceptInvitation, parts: Parts) -> rpc.UserView:
    return await parts.invitations.accept(request)


HANDLERS = Handlers(
    "auth",
    rpc={
        rpc.CreateApiKey: create_api_key,
        rpc.ListApiKeys: list_api_keys,
        rpc.RevokeApiKey: revoke_api_key,
        rpc.CreateUser: create_user,
        rpc.ListUsers: list_users,
        rpc.UpdateUser: update_user,
        rpc.ResetPassword: reset_password,
        rpc.RotateSigningKey: rotate_signing_key,
        **EXTENSION_RPC,
        **SESSION_RPC,
        **FACTOR_RPC,
        **ACCOUNT_RPC,
        **INVITATION_RPC,
        **OIDC_RPC,
        **KEY_RPC,
        **ROLE_RPC,
        **GROUP_RPC,
        **GRANTING_RPC,
        **PROJECT_RPC,
        factor_rpc.Unlock: unlock,
    },
    memory_rpc={
        session_rpc.Login: login,
        rpc.ChangePassword: change_password,
        factor_rpc.RemoveOwnTotp: remove_own_totp,
        AcceptInvitation: accept_invitation,
        **SESSION_MEMORY_RPC,
        **OIDC_MEMORY_RPC,
    },
    publishes=(f"{CREDENTIAL_SUBJECT}.>", REVOKED_SUBJECT, CHANGED_SUBJECT, EXTENSION_EVENTS, *CONSUMERS),
    subscribes=(CALLOUT_SUBJECT, EXTENSION_INTAKE),
    reads=(f"KV_{CREDENTIALS}",),
)
