"""The CloudEvents 1.0 envelope of a message, in NATS headers (binary mode) or around the body (structured mode).

Header values are percent-encoded as the NATS protocol binding of CloudEvents asks.
"""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any
from urllib.parse import unquote

from shared.errors import InvalidInput
from shared.names import DEFAULT_PROJECT, new_id

STRUCTURED = "application/cloudevents"
ORIGINAL_SUBJECT = "aimass-subject"
ORIGINAL_POSITION = "aimass-position"
_PLAIN = re.compile(r"[!#$&-~]*")


def _encode(value: str) -> str:
    return value if _PLAIN.fullmatch(value) else _escaped(value)


def _escaped(value: str) -> str:
    return "".join(
        char if "!" <= char <= "~" and char not in '"%' else "".join(f"%{byte:02X}" for byte in char.encode())
        for char in value
    )


@dataclass(frozen=True)
class Envelope:
    """Identity and circumstances of one event; the project is read from its subject.

    `position` is its sequence in its stream and `stored_at` the stream's time, for one that came from there.
    """

    type: str
    source: str
    subject: str
    id: str = field(default_factory=new_id)
    time: str = field(default_factory=lambda: datetime.now(UTC).isoformat(timespec="microseconds"))
    sequence: int = 0
    project: str = DEFAULT_PROJECT
    actor: str = ""
    correlation_id: str = ""
    causation_id: str = ""
    traceparent: str = ""
    position: int = 0
    stored_at: datetime | None = None

    def to_headers(self) -> dict[str, str]:
        """Headers of binary mode, with the message id that the stream deduplicates by."""
        attributes = {
            "ce-specversion": "1.0",
            "ce-id": self.id,
            "ce-source": self.source,
            "ce-type": self.type,
            "ce-subject": self.subject,
            "ce-time": self.time,
            "ce-datacontenttype": "application/json",
            "ce-sequence": str(self.sequence),
            "ce-correlationid": self.correlation_id,
            "ce-causationid": self.causation_id,
            "aimass-actor": self.actor,
            "traceparent": self.traceparent,
            "Nats-Msg-Id": self.id,
        }
        return {name: _encode(value) for name, value in attributes.items() if value}


def is_structured(headers: Mapping[str, str]) -> bool:
    kind = next((value for name, value in headers.items() if name.lower() == "content-type"), "")
    return kind.startswith(STRUCTURED)


def _json(body: bytes) -> Any:
    try:
        return json.loads(body)
    except (ValueError, RecursionError):
        raise InvalidInput("the event is no JSON document", field="data") from None


def _structured_attributes(body: bytes) -> dict[str, Any]:
    document = _json(body)
    if not isinstance(document, dict) or document.get("specversion") != "1.0":
        raise InvalidInput("a structured event is a JSON object with specversion 1.0", field="specversion")
    return document


def _binary_attributes(headers: Mapping[str, str]) -> dict[str, Any]:
    return {name[3:]: unquote(value) for name, value in headers.items() if name.startswith("ce-")}


def _sequence(value: Any) -> int:
    try:
        return int(value or 0)
    except (TypeError, ValueError):
        raise InvalidInput("sequence is not an integer", field="sequence") from None


def read_envelope(
    subject: str, headers: Mapping[str, str], body: bytes, position: int = 0, stored_at: datetime | None = None
) -> Envelope:
    """The envelope of a message of either mode.

    Raises InvalidInput when type, source or id is missing.
    """
    attributes = _structured_attributes(body) if is_structured(headers) else _binary_attributes(headers)
    for name in ("type", "source", "id"):
        if not isinstance(attributes.get(name), str) or not attributes[name]:
            raise InvalidInput(f"the event has no attribute {name}: send it as header ce-{name}", field=name)
    tokens = headers.get(ORIGINAL_SUBJECT, subject).split(".")
    return Envelope(
        type=attributes["type"],
        source=attributes["source"],
        subject=str(attributes.get("subject", "")),
        id=attributes["id"],
        time=str(attributes.get("time", "")),
        sequence=_sequence(attributes.get("sequence")),
        project=tokens[1] if len(tokens) > 1 else DEFAULT_PROJECT,
        actor=unquote(headers.get("aimass-actor", "")),
        correlation_id=str(attributes.get("correlationid", "")),
        causation_id=str(attributes.get("causationid", "")),
        traceparent=headers.get("traceparent", "") or str(attributes.get("traceparent", "")),
        position=position,
        stored_at=stored_at,
    )


def read_data(headers: Mapping[str, str], body: bytes) -> Any:
    """The event's data: the body itself, or the member data of a structured event."""
    document = _json(body)
    if not is_structured(headers):
        return document
    if not isinstance(document, dict):
        raise InvalidInput("a structured event is a JSON object with specversion 1.0", field="specversion")
    return document.get("data", {})
