"""What the gateway may do on the bus: it hears nothing and answers nobody there."""

from services.gateway.limits.shares import HERE_SUBJECT, LEASE_SUBJECT
from shared.handlers import Handlers
from shared.streams import CHANGED_SUBJECT, CREDENTIALS, INFERRED, REVOKED_SUBJECT, SERVICES, rpc_wildcard

HANDLERS = Handlers(
    "gateway",
    asks=tuple(rpc_wildcard(service) for service in SERVICES if service != "gateway"),
    publishes=("infer.*.*", "infer.*.*.withdrawn", HERE_SUBJECT, f"{LEASE_SUBJECT}.*"),
    subscribes=(REVOKED_SUBJECT, CHANGED_SUBJECT, f"{INFERRED}gateway.>", HERE_SUBJECT, f"{LEASE_SUBJECT}.*"),
    reads=(f"KV_{CREDENTIALS}", "EVT", "LOG"),
)
