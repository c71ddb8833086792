"""Asks for a training on the bus, with plain nats-py: python -m examples.publish_events digits-cnn '{"epochs": 3}'

The command is a CloudEvent in binary mode: attributes as headers, data as the body. Its id makes a repeat harmless.
"""

import argparse
import asyncio
import json
import uuid
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import nats

from examples.read_events import CREDENTIALS

TYPE = "aimass.trainer.v1.TrainModel"


async def publish(credentials: dict[str, str], data: dict[str, Any], command_id: str) -> str:
    """Publish the command and wait until the bus holds it; returns the correlation id of all that follows."""
    names = ("user", "password", "inbox_prefix")
    connection = await nats.connect(credentials["url"], **{name: credentials[name] for name in names})
    headers = {
        "ce-specversion": "1.0",
        "ce-id": command_id,
        "ce-source": "examples",
        "ce-type": TYPE,
        "ce-subject": f"models/{data['model']}",
        "ce-time": datetime.now(UTC).isoformat(),
        "ce-datacontenttype": "application/json",
        "ce-correlationid": command_id,
        "Nats-Msg-Id": command_id,
    }
    try:
        await connection.jetstream().publish(credentials["command"], json.dumps(data).encode(), headers=headers)
    finally:
        await connection.close()
    return command_id


def main() -> None:
    parser = argparse.ArgumentParser(description="Ask for a training on the bus.")
    parser.add_argument("model")
    parser.add_argument("parameters", type=json.loads, nargs="?", default={})
    parser.add_argument("--credentials", type=Path, default=CREDENTIALS)
    parser.add_argument("--id", default=str(uuid.uuid4()))
    given = parser.parse_args()
    data = {"request_id": given.id, "model": given.model, "parameters": given.parameters}
    print(asyncio.run(publish(json.loads(given.credentials.read_text()), data, given.id)))


if __name__ == "__main__":
    main()
