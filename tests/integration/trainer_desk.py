"""The desk of trainer that admits tasks, for a service under test that has no trainer beside it."""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

from deploy.embedded.testing_servers import NatsServer
from services.trainer.admission.desk import OwnDesk, decide, queues
from shared.db import Database
from shared.handlers import Handlers
from shared.rpc.trainer import Admission, AskAdmission, GetQueues, Queues
from shared.settings import ServiceSettings
from shared.work import Work
from tests.integration.running import running


def desk(settings_of: Callable[[str], ServiceSettings]) -> OwnDesk:
    """The real one, on trainer's own schema."""
    return OwnDesk(Database(settings_of("trainer")), {})


async def _ask_admission(request: AskAdmission, work: Work[Any]) -> Admission:
    return await decide(work.tx, request, {})


async def _get_queues(request: GetQueues, work: Work[Any]) -> Queues:
    return await queues(work.tx, {})


@asynccontextmanager
async def answering_desk(settings_of: Callable[[str], ServiceSettings], nats: NatsServer) -> AsyncIterator[None]:
    """The real one, over the bus."""
    handlers = Handlers("trainer", rpc={AskAdmission: _ask_admission, GetQueues: _get_queues})
    async with running(handlers, None, settings_of("trainer"), nats):
        yield
