"""What becomes of an audited event, and the requests about the audit."""

from datetime import datetime
from typing import Any, Protocol

from services.monitor.audit import store
from services.monitor.audit.domain import CHAIN, Verifier, entry_of
from shared.events.base import Event
from shared.events.bus import AuditAdvanced
from shared.handlers import RpcHandler
from shared.reading import StreamReader
from shared.rpc.base import Request
from shared.rpc.monitor import AuditList, AuditVerification, ListAudit, VerifyAudit
from shared.work import Work

MOST_HEADS = 1_000_000


class Reads(Protocol):
    """Parts with a reader of the stream of events."""

    events: StreamReader


async def audit(event: Event, work: Work[Any], at: datetime) -> None:
    """Append a decision to the chain, and say how far it has come: the bus keeps that where the database does not."""
    assert work.envelope is not None
    placed = await store.append(work.tx, entry_of(work.envelope, work.context, at, event.model_dump_json()))
    if placed is not None:
        work.say(AuditAdvanced(chain=CHAIN, position=placed.position, digest=placed.digest))


async def list_audit(request: ListAudit, work: Work[Any]) -> AuditList:
    entries = await store.listed(work.tx, work.project, request)
    return AuditList(entries=[entry.view() for entry in entries])


async def verify_audit(request: VerifyAudit, work: Work[Reads]) -> AuditVerification:
    """The whole chain, of all projects, against itself and against what the bus holds of it."""
    verifier = Verifier(await _published(work.parts.events))
    async for entries in store.chain(work.tx):
        verifier.read(entries)
    return verifier.verdict()


async def _published(events: StreamReader) -> dict[int, str]:
    """The first that was said of each place: what comes later cannot take it back."""
    said: dict[int, str] = {}
    async for stored in events.read(AuditAdvanced.subject("*"), 1, MOST_HEADS):
        head = AuditAdvanced.model_validate_json(stored.data)
        said.setdefault(head.position, head.digest)
    return said


AUDIT_RPC: dict[type[Request[Any]], RpcHandler] = {ListAudit: list_audit, VerifyAudit: verify_audit}
