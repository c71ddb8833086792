"""Logins through identity providers: there and back; no transaction is open while a provider is asked."""

from collections.abc import Awaitable, Callable
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

from services.auth import entries, users
from services.auth import store as auth_store
from services.auth.bootstrap import Transaction
from services.auth.grants.desk import keeping_admins
from services.auth.oidc import checking, domain, store
from services.auth.oidc.asking import Asking
from services.auth.oidc.domain import Provider
from services.auth.sessions.desk import SessionDesk, may_enter
from services.auth.users import User
from shared.context import Context
from shared.credentials import key_digest
from shared.errors import Forbidden, TooManyAttempts, Unauthenticated
from shared.events.identity import UserCreated, UserRolesChanged
from shared.rpc.auth import LoggedIn
from shared.rpc.oidc import BeginProviderLogin, EndProviderLogin, ProviderLoginBegun, ProviderLoginEnded
from shared.sealing import KeyFile
from shared.work import Work

UNKNOWN = "this login did not begin here, is over, or was ended before: begin again"


class OidcDesk:
    """Any replica ends what another one began."""

    def __init__(
        self,
        transaction: Transaction,
        announce: Callable[[list[str]], Awaitable[None]],
        sessions: SessionDesk,
        keys: KeyFile,
        asking: Asking,
    ) -> None:
        self._transaction = transaction
        self._announce = announce
        self._sessions = sessions
        self._keys = keys
        self._asking = asking

    def seal(self, secret: str, name: str) -> bytes | None:
        return self._keys.sealer().seal(secret.encode(), domain.purpose(name)) if secret else None

    async def begin(self, request: BeginProviderLogin) -> ProviderLoginBegun:
        """What is not kept: the browser's secret, and all that follows from it."""
        now, state, browser = datetime.now(UTC), domain.new_secret(), domain.new_secret()
        login = domain.pending(state, browser, request.provider, request.forward_to, now)
        provider = await self._provider(request.provider)
        endpoint = (await self._asking.discovery(provider.issuer)).authorization_endpoint
        async with self._transaction(Context(actor="auth")) as work:
            if await store.count_logins(work.tx, now) >= domain.MOST_LOGINS:
                raise TooManyAttempts("too many logins are under way: wait a minute", retry_after=60)
            await store.insert_login(work.tx, login)
        location = domain.location(provider, endpoint, state, browser)
        is_secure = provider.public_url.startswith("https")
        return ProviderLoginBegun(location=location, browser=browser, is_secure=is_secure)

    async def end(self, request: EndProviderLogin) -> ProviderLoginEnded:
        """A login of a program is sent on to it; it has the secret, so that nobody else can end it."""
        provider = await self._provider(request.provider)
        if not request.code:
            raise Unauthenticated("the provider let nobody in: begin again")
        if forward_to := await self._forward_to(request):
            return ProviderLoginEnded(forward_to=forward_to)
        await self._take(request)
        secret = self._keys.sealer().open(provider.sealed, domain.purpose(provider.name)) if provider.sealed else b""
        verifier, nonce = (domain.derived(request.browser, what) for what in ("verifier", "nonce"))
        token = await self._asking.id_token(provider, secret.decode(), request.code, verifier)
        keys, who = await self._asking.keys(provider, token), {"issuer": provider.issuer, "nonce": nonce}
        claims = checking.check(token, keys, client_id=provider.client_id, **who)
        return ProviderLoginEnded(session=await self._admit(provider, claims, request.address))

    async def _forward_to(self, request: EndProviderLogin) -> str:
        async with self._transaction(Context(actor="auth")) as work:
            login = await store.find_login(work.tx, key_digest(request.state))
        if login is None or login.is_of(request.provider, request.browser, datetime.now(UTC)):
            return ""
        return login.forward_to

    async def _take(self, request: EndProviderLogin) -> None:
        """Gone before the provider is asked; another browser does not take it away."""
        async with self._transaction(Context(actor="auth")) as work:
            login = await store.take_login(work.tx, key_digest(request.state))
            if login is None or not login.is_of(request.provider, request.browser, datetime.now(UTC)):
                raise Unauthenticated(UNKNOWN)

    async def _provider(self, name: str) -> Provider:
        async with self._transaction(Context(actor="auth")) as work:
            return await store.find(work.tx, name)

    async def _admit(self, provider: Provider, claims: dict[str, Any], address: str) -> LoggedIn:
        """Answered when every gateway can know the user."""
        roles, person = provider.roles_of(claims), str(claims["sub"])
        if not 0 < len(person) <= domain.LONGEST_PERSON:
            raise Unauthenticated("the provider's ID token names nobody")
        async with self._transaction(Context(project=provider.project, actor="auth")) as work:
            user_id = await store.find_person(work.tx, provider.name, person)
            if user_id is None:
                user = await self._make(work, provider, person, users.ordered(roles), provider.name_of(claims))
            else:
                user = await self._renew(work, provider, user_id, users.ordered(roles))
            if not await may_enter(work.tx, user, provider.project):
                raise Forbidden("the project of this provider is archived: nobody may enter it")
            session = await self._sessions.begin(work, user, address)
        await self._announce(work.written)
        return session

    async def _make(self, work: Work[Any], provider: Provider, person: str, roles: tuple[Any, ...], name: str) -> User:
        """A user of this name who came otherwise is never taken over: Conflict."""
        now, by = datetime.now(UTC), f"oidc/{provider.name}"
        user = users.draft(name, roles, "", project=provider.project, by=by, now=now)
        await auth_store.insert_user(work.tx, user)
        await store.insert_person(work.tx, provider.name, person, user.id)
        await entries.put_user(work, user)
        work.say(UserCreated(user_id=user.id, name=user.name, roles=user.roles, actor=by))
        return user

    async def _renew(self, work: Work[Any], provider: Provider, user_id: str, roles: tuple[Any, ...]) -> User:
        """The user with the roles of now; Unauthenticated for a disabled one, Conflict for the last administrator."""
        user = await auth_store.lock_user(work.tx, provider.project, user_id)
        if user.disabled_at:
            raise Unauthenticated("this user is disabled: ask an administrator")
        if user.roles == roles:
            return user
        renewed = replace(user, roles=roles)
        async with keeping_admins(work.tx):
            await auth_store.save_user(work.tx, renewed)
        await entries.put_user(work, renewed)
        by = f"oidc/{provider.name}"
        work.say(UserRolesChanged(user_id=user.id, name=user.name, roles=renewed.roles, actor=by))
        return renewed
