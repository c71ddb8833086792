"""Garbage: artifacts that nobody names and data sets that nobody uses, collected after a time of grace.

What is named is asked of every service that names artifacts; if one does not answer, nothing is collected.
"""

import re
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta

from services.registry import store
from services.registry.parts import Work
from shared.artifacts import Artifacts, Kept
from shared.rpc.artifacts import ListReferences, References
from shared.rpc.registry import CollectGarbage, Garbage

NAMING = ("trainer", "inference", "evaluator")
DIGEST = re.compile(r"[0-9a-f]{64}")
MOST = 10_000


async def collect_garbage(request: CollectGarbage, work: Work) -> Garbage:
    """Delete what was stored before the time of grace and is named by nobody; with `dry_run` only count it.

    The parts of a data set that goes now stay until the next time, when its going is certain.
    """
    named, in_use = await _named_elsewhere(work)
    named |= await store.named_artifacts(work.tx)
    unused = await store.unused_datasets(work.tx, in_use, request.grace_seconds)
    before = datetime.now(UTC) - timedelta(seconds=request.grace_seconds)
    artifacts = work.parts.artifacts
    garbage = [kept async for kept in _garbage(artifacts, named, before)]
    counted = (
        garbage if request.dry_run else [kept for kept in garbage[:MOST] if await _delete(artifacts, kept, before)]
    )
    if not request.dry_run:
        await store.delete_datasets(work.tx, unused)
    return Garbage(
        dry_run=request.dry_run,
        named=len(named),
        artifacts=len(counted),
        size=sum(kept.size for kept in counted),
        datasets=[f"{name} {digest}" for _, name, digest in unused],
        more=not request.dry_run and len(garbage) > MOST,
    )


async def _named_elsewhere(work: Work) -> tuple[set[str], set[str]]:
    """The artifacts that other services name, and the data sets that they use."""
    named: set[str] = set()
    in_use: set[str] = set()
    for service in NAMING:
        page = References(more=True)
        while page.more:
            asked = ListReferences(after=page.digests[-1] if page.digests else "")
            page = await work.parts.bus.ask(asked, work.context, service=service)
            named.update(page.digests)
            in_use.update(page.datasets)
    return named, in_use


async def _garbage(artifacts: Artifacts, named: set[str], before: datetime) -> AsyncIterator[Kept]:
    async for kept in artifacts.kept():
        if DIGEST.fullmatch(kept.digest) and kept.digest not in named and kept.stored_at < before:
            yield kept


async def _delete(artifacts: Artifacts, kept: Kept, before: datetime) -> bool:
    """Look again, for whoever brings the same content anew makes it young."""
    now = await artifacts.find(kept.digest)
    if now is None or now.stored_at >= before:
        return False
    await artifacts.delete(kept.digest)
    return True
