"""The desk of trainer that admits tasks, for a service under test that has no trainer beside it."""

from collections.abc import Callable

from services.trainer.admission.desk import OwnDesk
from shared.db import Database
from shared.settings import ServiceSettings


def desk(settings_of: Callable[[str], ServiceSettings]) -> OwnDesk:
    """The real one, on trainer's own schema."""
    return OwnDesk(Database(settings_of("trainer")), {})
