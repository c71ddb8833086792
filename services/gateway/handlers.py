"""What the gateway may do on the bus: it hears nothing and answers nobody there."""

from shared.handlers import Handlers
from shared.streams import CREDENTIALS, REVOKED_SUBJECT

HANDLERS = Handlers(
    "gateway",
    asks=("auth", "registry", "trainer", "inference", "evaluator", "monitor"),
    publishes=("infer.*.*",),
    subscribes=(REVOKED_SUBJECT,),
    reads=(f"KV_{CREDENTIALS}", "EVT", "LOG"),
)
