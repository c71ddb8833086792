"""The composition root of the gateway."""

import asyncio
from collections.abc import Iterable
from functools import partial

from services.gateway.access import Gatekeeper
from services.gateway.caller import Edges
from services.gateway.control import ControlEdge, control_app
from services.gateway.credentials import BUCKET, CredentialCache, CredentialFeed
from services.gateway.handlers import HANDLERS
from services.gateway.headers import with_cors
from services.gateway.limits.limits import Limits
from services.gateway.limits.shares import Shares
from services.gateway.limits.uses import Uses
from services.gateway.metering import Meter
from services.gateway.open_inference.bodies import InferenceBodies
from services.gateway.open_inference.data_plane import DataPlane
from services.gateway.open_inference.deferral import Deferral
from services.gateway.open_inference.lane import Lane
from services.gateway.open_inference.protocol import InferenceProtocol
from services.gateway.open_inference.routes import InferenceRoutes
from services.gateway.operations import OpsPorts
from services.gateway.predict.predictor import Predictor
from services.gateway.server import Edge, HttpServer
from services.gateway.settings import Settings
from services.gateway.sse import Followers
from services.gateway.uploads import Uploads
from shared import bus, observe
from shared.artifacts import Artifacts
from shared.body_pool import BodyPool
from shared.body_store import DEFERRED, BodyStore
from shared.phonemes import Phonemes
from shared.reading import StreamReader
from shared.service import Loop, Service


def build() -> Service:
    settings = Settings()
    service = Service("gateway", settings, data_plane=True)
    cache = CredentialCache(settings.credentials_stale_seconds)
    gatekeeper = Gatekeeper(cache)
    seconds = (settings.infer_seconds, settings.infer_seconds_max)
    store, pool = BodyStore(settings.artifacts_url, settings.home_dir), _pool(settings.shared_mb)
    bodies = InferenceBodies(store, settings.infer_bytes, pool)
    plane = DataPlane(partial(bus.connect, "gateway", settings), settings.max_in_flight, bodies.forget_reply)
    deferred = BodyStore(settings.artifacts_url, settings.home_dir, DEFERRED)
    deferral = Deferral(deferred, settings.infer_bytes, service.bus)
    inference = InferenceRoutes(plane, bodies, deferral, service.bus, cache.problem, *seconds)
    followers = Followers(settings.max_followers)
    readers = (StreamReader(service.bus, "EVT"), StreamReader(service.bus, "LOG"))
    uploads = Uploads(Artifacts(settings.artifacts_url), settings.home_dir, gatekeeper, *settings.upload_limits)
    uses = Uses(service.bus, settings.key_use_seconds)
    shares = Shares(service.bus, uses.want)
    uses.learn = shares.learn
    limits = Limits(settings, shares, uses)
    meter = Meter(service.bus, cache, settings.usage_seconds)
    protocol = InferenceProtocol(inference.routes(), gatekeeper, limits, meter)
    ops = OpsPorts(settings.ops_urls)
    phonemes = Phonemes()
    edges = Edges(service.bus, gatekeeper, followers, *readers, uploads, ops, deferred, Predictor(protocol), phonemes)
    control = ControlEdge(control_app(edges, settings.docs), gatekeeper, limits, meter)
    lane = Lane(protocol, inference, plane, gatekeeper)
    server = HttpServer(settings, with_cors(Edge(control, protocol), settings), followers, lane)
    service.handle(HANDLERS, None)
    service.add_loop("http", server.serve, early=True)
    service.add_loop("data plane", plane.run, early=True)
    service.add_loop("credentials", CredentialFeed(cache, service.bus, StreamReader(service.bus, BUCKET)).run)
    service.add_loop("limits", shares.run)
    service.add_loop("uses of keys", uses.run)
    service.add_loop("claims", bodies.sweep)
    service.add_loop("metering", meter.run)
    service.add_check("data plane", plane.problem)
    service.add_check("credentials", cache.report)
    closing: list[Loop] = [server.close]
    if settings.grpc_port:
        closing.append(_serve_grpc(service, settings, protocol))
    service.add_closing(partial(_close_all, closing))
    service.add_closing(limits.close)
    service.add_closing(meter.publish)
    service.add_closing(plane.close)
    service.add_closing(bodies.close)
    service.add_closing(phonemes.close)
    return service


def _pool(megabytes: int) -> BodyPool | None:
    """Memory for large bodies, where it is wanted, and there is any."""
    if not megabytes:
        return None
    try:
        return BodyPool(megabytes * 1024**2)
    except OSError as error:
        observe.log().warning("large bodies go through the object store", error=str(error))
        return None


def _serve_grpc(service: Service, settings: Settings, protocol: InferenceProtocol) -> Loop:
    """Only who serves it imports it, since it takes 15 MB."""
    from services.gateway.open_inference.grpc_server import GrpcServer

    server = GrpcServer(settings, protocol)
    service.add_loop("grpc", server.serve, early=True)
    return server.close


async def _close_all(closing: Iterable[Loop]) -> None:
    """Drain all edges at the same time."""
    await asyncio.gather(*(close() for close in closing))
