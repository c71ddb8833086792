"""Whether a project may begin one more task: asked of monitor, which adds up what was used."""

from typing import Any

from shared import observe
from shared.errors import AimassError, QuotaUsedUp
from shared.rpc.usage import CheckTaskQuota
from shared.work import Work

ASK_SECONDS = 1.0


async def check_quota(work: Work[Any], kind: str) -> None:
    """Raises QuotaUsedUp; while monitor cannot say, nobody is held up."""
    try:
        verdict = await work.parts.bus.ask(CheckTaskQuota(kind=kind), work.context, seconds=ASK_SECONDS)
    except AimassError as error:
        observe.log().warning("quota not checked", kind=kind, error=error.message)
        return
    if not verdict.allowed:
        raise QuotaUsedUp(verdict.reason, retry_after=verdict.retry_after)
