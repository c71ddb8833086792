"""The requests about extensions: load, decide, save, say; who lost a right is cut off after the commit."""

import asyncio
from datetime import UTC, datetime
from functools import partial
from typing import Any, Protocol

from services.auth.extensions import domain, store
from services.auth.extensions.domain import Extension
from services.auth.extensions.office import Office
from shared.errors import Unavailable
from shared.events.identity import (
    ExtensionChanged,
    ExtensionDeleted,
    ExtensionPasswordRotated,
)
from shared.events.identity import ExtensionRegistered as Registered
from shared.handlers import RpcHandler
from shared.rpc import auth as rpc
from shared.rpc.base import Done, Request
from shared.work import Work as AnyWork


class HasOffice(Protocol):
    """Parts that extensions are handled with; there is no office where the bus asks nobody."""

    @property
    def office(self) -> Office | None: ...


Work = AnyWork[HasOffice]


def _office(work: Work) -> Office:
    if work.parts.office is None:
        raise Unavailable("this bus lets nobody in: set AUTH_CALLOUT_SECRET, and configure the bus with it")
    return work.parts.office


async def register_extension(request: rpc.RegisterExtension, work: Work) -> rpc.ExtensionRegistered:
    """The consumer is made within the transaction: without it nothing is registered."""
    office, password, now = _office(work), domain.new_password(), datetime.now(UTC)
    make = partial(domain.draft, request, password, project=work.project, by=work.context.actor, now=now)
    extension = await office.read(make)
    await store.lock_all(work.tx)
    await store.insert(work.tx, extension)
    await office.consumers.put(extension)
    work.say(Registered(**_said(extension, work), hears=extension.hears, says=tuple(sorted(extension.says))))
    return _with_credentials(extension, office, password)


async def list_extensions(_: rpc.ListExtensions, work: Work) -> rpc.ExtensionList:
    office = _office(work)
    found = await store.listed(work.tx, work.project)
    lags = await asyncio.gather(*(office.consumers.lag(extension) for extension in found))
    return rpc.ExtensionList(extensions=[each.view(lag) for each, lag in zip(found, lags, strict=True)])


async def get_extension(request: rpc.GetExtension, work: Work) -> rpc.ExtensionView:
    extension = await store.find(work.tx, work.project, request.name)
    office = _office(work)
    return extension.view(await office.consumers.lag(extension))


async def change_extension(request: rpc.ChangeExtension, work: Work) -> rpc.ExtensionView:
    """It comes in again with what it may do now; its consumer stays where it was."""
    await store.lock_all(work.tx)
    extension = await store.find(work.tx, work.project, request.name)
    office = _office(work)
    changed = await office.read(partial(domain.changed, extension, request, datetime.now(UTC)))
    await store.save(work.tx, changed)
    if changed.hears != extension.hears:
        await office.consumers.put(changed)
    work.say(
        ExtensionChanged(
            **_said(changed, work),
            hears=changed.hears,
            says=tuple(sorted(changed.says)),
            disabled=changed.disabled_at is not None,
        )
    )
    work.then(partial(office.bouncer.put_out, extension.user))
    return changed.view(await office.consumers.lag(changed))


async def rotate_extension(request: rpc.RotateExtension, work: Work) -> rpc.ExtensionRegistered:
    await store.lock_all(work.tx)
    extension = await store.find(work.tx, work.project, request.name)
    office, password = _office(work), domain.new_password()
    rotated = domain.rotated(extension, password, datetime.now(UTC))
    await store.save(work.tx, rotated)
    work.say(ExtensionPasswordRotated(**_said(rotated, work)))
    work.then(partial(office.bouncer.put_out, extension.user))
    return _with_credentials(rotated, office, password)


async def delete_extension(request: rpc.DeleteExtension, work: Work) -> Done:
    """What a crash leaves of it, the next look removes."""
    await store.lock_all(work.tx)
    extension = await store.find(work.tx, work.project, request.name)
    office = _office(work)
    await store.delete(work.tx, extension)
    work.say(ExtensionDeleted(**_said(extension, work)))
    work.then(partial(office.bouncer.put_out, extension.user))
    work.then(partial(office.consumers.remove, extension.consumer))
    return Done()


def _said(extension: Extension, work: Work) -> dict[str, Any]:
    return {"extension_id": extension.id, "name": extension.name, "actor": work.context.actor}


def _with_credentials(extension: Extension, office: Office, password: str) -> rpc.ExtensionRegistered:
    credentials = extension.credentials(office.url, password)
    return rpc.ExtensionRegistered(**extension.view().model_dump(), credentials=credentials)


EXTENSION_RPC: dict[type[Request[Any]], RpcHandler] = {
    rpc.RegisterExtension: register_extension,
    rpc.ListExtensions: list_extensions,
    rpc.GetExtension: get_extension,
    rpc.ChangeExtension: change_extension,
    rpc.RotateExtension: rotate_extension,
    rpc.DeleteExtension: delete_extension,
}
