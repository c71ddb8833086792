"""The operators' page of each service, through the gateway."""

from typing import Annotated

from fastapi import Path, Response
from fastapi.responses import RedirectResponse

from services.gateway.caller import CallerOf
from services.gateway.operations import ROOT
from services.gateway.routes.declare import Routes
from shared.names import Slug
from shared.permissions import Permission

ROUTES = Routes("operators", prefix=ROOT.rstrip("/"))
Page = Annotated[str, Path(pattern=r"^[a-z.]{1,20}$", description="such as status, asyncapi.json or metrics")]


@ROUTES.add("GET", "/{service}", Permission.OPS_READ, platform=True, response_class=RedirectResponse, status_code=307)
async def find_page(service: Slug, caller: CallerOf) -> str:
    """The page's own links need the last slash."""
    return f"{service}/"


@ROUTES.add("GET", "/{service}/", Permission.OPS_READ, platform=True, response_class=Response)
async def show_page(service: Slug, caller: CallerOf) -> Response:
    """The live page of a service."""
    return await _fetch(service, "", caller)


@ROUTES.add("GET", "/{service}/{page}", Permission.OPS_READ, platform=True, response_class=Response)
async def show_part(service: Slug, page: Page, caller: CallerOf) -> Response:
    """What stands beside the page: status, metrics, readyz, asyncapi and what they are made of."""
    return await _fetch(service, page, caller)


async def _fetch(service: str, page: str, caller: CallerOf) -> Response:
    found = await caller.edges.ops_ports.fetch(service, page)
    return Response(found.body, found.status, found.headers | {"Cache-Control": "no-store"})
