"""Commands that trainer obeys."""

from typing import Any

from shared.events.base import Command


class TrainModel(Command):
    """Accept a training task, on the member's data set unless another is named; request_id makes a repeat harmless."""

    request_id: str = ""
    model: str = ""
    parameters: dict[str, Any] = {}
    auto_promote: bool = False
    dataset: str = ""
