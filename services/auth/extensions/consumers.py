"""The durable consumer of each extension, on the bus."""

from collections.abc import Callable
from typing import Any

import nats.errors
import nats.js.errors
from nats.js import JetStreamContext
from nats.js.api import ConsumerConfig, DeliverPolicy
from nats.js.errors import NotFoundError

from services.auth.extensions.domain import CONSUMER_PREFIX, MAX_BATCH, MAX_WAITING, STREAM, Extension
from shared.errors import Unavailable
from shared.rpc.auth import Lag


class _Bounded(ConsumerConfig):
    """A consumer whose pulls are bounded too, which the library has no field for."""

    def as_dict(self) -> dict[str, object]:
        return super().as_dict() | {"max_batch": MAX_BATCH}


def config_of(extension: Extension) -> ConsumerConfig:
    """What it may hear, from where its history begins; never more unanswered than it asked for."""
    begins = extension.starts_at
    return _Bounded(
        name=extension.consumer,
        durable_name=extension.consumer,
        description=f"of the extension {extension.name}",
        filter_subjects=extension.filters,
        deliver_policy=DeliverPolicy.ALL if begins is None else DeliverPolicy.BY_START_TIME,
        opt_start_time=begins,
        ack_wait=float(extension.ack_wait),
        max_ack_pending=extension.max_ack_pending,
        max_waiting=MAX_WAITING,
        max_deliver=-1,
    )


class Consumers:
    """Makes, finds and removes them; raises Unavailable while the bus cannot."""

    def __init__(self, jetstream: Callable[[], JetStreamContext]) -> None:
        self._jetstream = jetstream

    async def put(self, extension: Extension) -> None:
        """The consumer as it should be; none for an extension that hears nothing."""
        if not extension.hears:
            return await self.remove(extension.consumer)
        try:
            await self._jetstream().add_consumer(STREAM, config_of(extension))
        except _FAILURES as error:
            raise Unavailable(f"the consumer cannot be made now: {error!r}") from error

    async def remove(self, name: str) -> None:
        try:
            await self._jetstream().delete_consumer(STREAM, name)
        except NotFoundError:
            return
        except _FAILURES as error:
            raise Unavailable(f"the consumer cannot be removed now: {error!r}") from error

    async def lag(self, extension: Extension) -> Lag | None:
        """None while there is no consumer, or no bus that would tell."""
        if not extension.hears:
            return None
        try:
            info: Any = await self._jetstream().consumer_info(STREAM, extension.consumer)
        except _FAILURES:
            return None
        answered = info.ack_floor.stream_seq if info.ack_floor else 0
        counts = (info.num_pending, info.num_ack_pending, info.num_redelivered, answered)
        return Lag(**dict(zip(Lag.model_fields, (count or 0 for count in counts), strict=True)))

    async def names(self) -> set[str]:
        """The consumers that are extensions', in any project."""
        found: list[Any] = []
        try:
            while len(page := await self._jetstream().consumers_info(STREAM, offset=len(found))):
                found += page
        except _FAILURES as error:
            raise Unavailable("the consumers cannot be listed now") from error
        return {info.name for info in found if info.name.startswith(CONSUMER_PREFIX)}


_FAILURES = (nats.errors.Error, nats.js.errors.Error, TimeoutError)
