"""Commands that trainer obeys."""

from typing import Any

from shared.events.base import Command


class TrainModel(Command):
    """Accept a training task; request_id makes a repeat harmless."""

    request_id: str = ""
    model: str = ""
    parameters: dict[str, Any] = {}
    auto_promote: bool = False
