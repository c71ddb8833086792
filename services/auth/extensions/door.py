"""The door of the bus for extensions: who comes in with which permissions, and who is put out at once."""

import json
from typing import Any

import nats.errors
from nats.aio.client import Client

from services.auth.bootstrap import Transaction
from services.auth.extensions import domain, store
from services.auth.extensions.domain import Extension
from shared import observe
from shared.callout import SYSTEM_USER, Issuer, claims_of
from shared.context import Context
from shared.errors import Unavailable

MOST_CONNECTIONS = 10_000
WHY = "no such extension, or another password"


class Door:
    """Answers the bus, which asks about everybody who is none of its own users."""

    def __init__(self, issuer: Issuer, transaction: Transaction) -> None:
        self._issuer = issuer
        self._transaction = transaction

    async def answer(self, token: bytes) -> bytes:
        """A signed admission or refusal; no answer, where this fails, lets nobody in either."""
        request = claims_of(token)
        given = request["nats"]["connect_opts"]
        user, password = str(given.get("user", "")), str(given.get("pass", ""))
        found = await self._find(user)
        if found is None or found.disabled_at or not found.is_password(password):
            observe.log().warning("not let onto the bus", user=user[:200])
            observe.BUS_ERRORS.labels("auth", "refused").inc()
            return self._issuer.refusal(request, WHY)
        return self._issuer.admission(request, found.pass_name, found.permissions())

    async def _find(self, user: str) -> Extension | None:
        if (names := domain.name_of(user)) is None:
            return None
        async with self._transaction(Context(actor="auth")) as work:
            return await store.known(work.tx, *names)


class Bouncer:
    """Cuts off connections as the bus's own system user."""

    def __init__(self, issuer: Issuer, url: str) -> None:
        self._issuer, self._url = issuer, url
        self._client: Client | None = None

    async def put_out(self, user: str) -> None:
        """End every connection of this user now."""
        for connection in await self._connections():
            if _pass_name(connection).startswith(f"{user}/"):
                await self._kick(connection)

    async def sweep(self, known: dict[str, Extension]) -> int:
        """End the connections that outlived a change or a crash; returns their number."""
        found = [each for each in await self._connections() if domain.must_go(_pass_name(each), known)]
        for connection in found:
            await self._kick(connection)
        return len(found)

    async def close(self) -> None:
        if self._client is not None:
            await self._client.close()

    async def _connections(self) -> list[dict[str, Any]]:
        reply = await self._ask("$SYS.REQ.SERVER.PING.CONNZ", {"auth": True, "limit": MOST_CONNECTIONS})
        here = {"server": reply["server"]["id"]}
        return [connection | here for connection in reply["data"]["connections"] or []]

    async def _kick(self, connection: dict[str, Any]) -> None:
        observe.log().info("cut off", user=_pass_name(connection), connection=connection["cid"])
        await self._ask(f"$SYS.REQ.SERVER.{connection['server']}.KICK", {"cid": connection["cid"]})

    async def _ask(self, subject: str, body: dict[str, Any]) -> dict[str, Any]:
        try:
            reply = await (await self._connected()).request(subject, json.dumps(body).encode(), timeout=3)
        except (nats.errors.Error, TimeoutError, OSError) as error:
            raise Unavailable("the bus does not tell who is connected; try again") from error
        found: dict[str, Any] = json.loads(reply.data)
        return found

    async def _connected(self) -> Client:
        if self._client is None or self._client.is_closed:
            client = Client()
            options: dict[str, Any] = {"max_reconnect_attempts": -1, "connect_timeout": 2, "error_cb": _noted}
            await client.connect(
                self._url, user=SYSTEM_USER, password=self._issuer.system_password, name="auth system", **options
            )
            self._client = client
        return self._client


async def _noted(error: Exception) -> None:
    observe.log().warning("bus error of the system user", error=repr(error))


def _pass_name(connection: dict[str, Any]) -> str:
    return str(connection.get("authorized_user", ""))
