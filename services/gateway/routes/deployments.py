"""Deployments: which versions serve, and what nodes give them."""

from pydantic import BaseModel, ConfigDict, Field, StrictBool

from services.gateway.caller import CallerOf
from services.gateway.routes.declare import AsOfQuery, Routes
from shared.names import Slug
from shared.permissions import Permission
from shared.rpc.inference import DeploymentList, GetResources, ListDeployments, Resources, SetResources

ROUTES = Routes("insight")


class WantedResources(BaseModel):
    """Bounds for the instances of each version on each node, and whether they always stay in memory."""

    model_config = ConfigDict(extra="forbid")
    instances_min: int = Field(default=1, ge=1)
    instances_max: int = Field(default=1, ge=1)
    pinned: StrictBool = False


@ROUTES.add("GET", "/deployments", Permission.DEPLOYMENTS_READ)
async def list_deployments(caller: CallerOf, model: Slug | None = None, as_of: AsOfQuery = None) -> DeploymentList:
    """Which versions are deployed, and in which state, now or at a time."""
    return await caller.ask(ListDeployments(model=model, as_of=as_of))


@ROUTES.add("GET", "/models/{model}/resources", Permission.DEPLOYMENTS_READ)
async def show_resources(model: Slug, caller: CallerOf) -> Resources:
    """What is wanted for a model, and what each node gives its versions: instances, memory, last use."""
    return await caller.ask(GetResources(model=model))


@ROUTES.add("PUT", "/models/{model}/resources", Permission.DEPLOYMENTS_WRITE)
async def set_resources(model: Slug, body: WantedResources, caller: CallerOf) -> Resources:
    """Let the instances of a model follow its demand within bounds, and pin it in memory or not."""
    return await caller.ask(SetResources(model=model, **body.model_dump()))
