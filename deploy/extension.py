"""The bus user for software of others: it reads a project's events and gives one command, and may do nothing else."""

from typing import Any

from nats.js.api import ConsumerConfig

from deploy.embedded.servers import BusUser
from shared.commands.trainer import TrainModel
from shared.names import DEFAULT_PROJECT
from shared.streams import EXTENSION as EXTENSION

STREAM = "EVT"
INBOX = f"_INBOX_{EXTENSION}"
COMMAND = TrainModel.subject(DEFAULT_PROJECT)
CONSUMER = ConsumerConfig(
    name=EXTENSION, durable_name=EXTENSION, filter_subjects=[f"evt.{DEFAULT_PROJECT}.>"], ack_wait=30, max_deliver=-1
)
ALLOWED: dict[str, Any] = {
    "publish": {
        "allow": [
            f"$JS.API.CONSUMER.INFO.{STREAM}.{EXTENSION}",
            f"$JS.API.CONSUMER.MSG.NEXT.{STREAM}.{EXTENSION}",
            f"$JS.ACK.{STREAM}.{EXTENSION}.>",
            COMMAND,
        ]
    },
    "subscribe": {"allow": [f"{INBOX}.>"]},
}


def user(password: str) -> BusUser:
    return BusUser(password, ALLOWED)


def credentials(bus_url: str, password: str) -> dict[str, str]:
    """What such software needs to know: the content of extension.json."""
    return {
        "url": bus_url,
        "user": EXTENSION,
        "password": password,
        "inbox_prefix": INBOX,
        "stream": STREAM,
        "consumer": EXTENSION,
        "command": COMMAND,
    }
