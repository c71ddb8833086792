"""Extensions: software of others on the bus, registered with auth."""

from fastapi import Response
from pydantic import BaseModel, ConfigDict, StrictBool

from services.gateway.caller import CallerOf
from services.gateway.routes.declare import Routes
from services.gateway.routes.tasks import IdempotencyKey
from shared.names import Slug
from shared.permissions import Permission
from shared.rpc.auth import (
    ChangeExtension,
    DeleteExtension,
    ExtensionList,
    ExtensionRegistered,
    ExtensionView,
    GetExtension,
    Hears,
    ListExtensions,
    RegisterExtension,
    RotateExtension,
    Says,
)

ROUTES = Routes("extensions")


class ExtensionChange(BaseModel):
    """What an extension hears and says from now on, and whether it is shut out; what is left out stays."""

    model_config = ConfigDict(extra="forbid")
    hears: Hears | None = None
    says: Says | None = None
    disabled: StrictBool | None = None


@ROUTES.add("POST", "/extensions", Permission.EXTENSIONS_WRITE, status_code=201)
async def register_extension(
    body: RegisterExtension, caller: CallerOf, response: Response, idempotency_key: IdempotencyKey = ""
) -> ExtensionRegistered:
    """Let software of others hear events of the project and say its own; its password is in this answer alone."""
    response.headers["Cache-Control"] = "no-store"
    return await caller.ask(body, idempotency_key=idempotency_key)


@ROUTES.add("GET", "/extensions", Permission.EXTENSIONS_READ)
async def list_extensions(caller: CallerOf) -> ExtensionList:
    """The extensions of the project by name, and how far each is behind."""
    return await caller.ask(ListExtensions())


@ROUTES.add("GET", "/extensions/{name}", Permission.EXTENSIONS_READ)
async def show_extension(name: Slug, caller: CallerOf) -> ExtensionView:
    """What an extension hears and says, and how far it is behind."""
    return await caller.ask(GetExtension(name=name))


@ROUTES.add("PATCH", "/extensions/{name}", Permission.EXTENSIONS_WRITE)
async def change_extension(name: Slug, body: ExtensionChange, caller: CallerOf) -> ExtensionView:
    """Have it hear or say something else, or shut it out; it is cut off, and comes in again where it may."""
    return await caller.ask(ChangeExtension(name=name, **body.model_dump()))


@ROUTES.add("POST", "/extensions/{name}/credentials", Permission.EXTENSIONS_WRITE)
async def rotate_extension(name: Slug, caller: CallerOf, response: Response) -> ExtensionRegistered:
    """Make another password, shown this once; who came in with the old one is cut off."""
    response.headers["Cache-Control"] = "no-store"
    return await caller.ask(RotateExtension(name=name))


@ROUTES.add("DELETE", "/extensions/{name}", Permission.EXTENSIONS_WRITE, status_code=204, response_class=Response)
async def delete_extension(name: Slug, caller: CallerOf) -> None:
    """Forget it, its consumer and its password, and cut it off."""
    await caller.ask(DeleteExtension(name=name))
