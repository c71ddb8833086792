"""The AsyncAPI 3 document of the whole system, docs/asyncapi.json, merged over what all services declare.

Each subject is one channel; each service that sends or receives there has an operation of its own.
"""

import json
import re
from collections.abc import Iterable, Iterator
from typing import Any

from pydantic import BaseModel
from pydantic.json_schema import models_json_schema

from deploy.bus_plan import is_heard
from shared.drift import words
from shared.events import said_by
from shared.events.base import Command, Event
from shared.names import snake
from shared.ops.asyncapi import BINARY, JSON, SCHEMAS, addressed, plain, summary_of
from shared.streams import STREAMS, TASK_SERVICES, Declaration, dlq_subject, log_subject, retry_subject
from shared.version import VERSION

Document = dict[str, Any]
DESCRIPTION = (
    "All that services, and software of others, say and hear on the bus. Bodies are JSON, printed in snake_case; "
    "events and commands are CloudEvents 1.0 in binary mode, their attributes in headers."
)
SERVER = {
    "host": "{host}:{port}",
    "protocol": "nats",
    "description": "NATS with JetStream. Each user has an allow-list; replies come below _INBOX_<user>.",
    "variables": {
        "host": {"default": "127.0.0.1", "description": "where the bus runs"},
        "port": {"default": "4222", "description": "chosen at the first start of a stack on one machine"},
    },
    "security": [{"$ref": "#/components/securitySchemes/busUser"}],
}
ATTRIBUTES = {
    "ce-specversion": "always 1.0",
    "ce-id": "the event's id, a UUIDv7",
    "ce-source": "the service, or the software, that says it",
    "ce-type": "the full name of the message of record in proto-schemas/",
    "ce-subject": "the aggregate that it is about",
    "ce-time": "when it happened, RFC 3339",
    "ce-datacontenttype": "application/json",
    "ce-sequence": "its number among those of its aggregate",
    "ce-correlationid": "the chain of work that it belongs to",
    "ce-causationid": "the event that caused it",
    "traceparent": "W3C trace context",
    "aimass-actor": "who asked for it",
    "Nats-Msg-Id": "ce-id: what the stream drops repeats by",
}
OPENED = frozenset({"channels", "operations", "components", "messages", "schemas", "x-streams"})
EVENT_HEADERS = {
    "type": "object",
    "description": "Values are percent-encoded as the NATS binding of CloudEvents asks.",
    "properties": {name: {"type": "string", "description": text} for name, text in ATTRIBUTES.items()},
    "required": ["ce-specversion", "ce-id", "ce-source", "ce-type"],
}
REQUEST_HEADERS = {
    "type": "object",
    "properties": {
        name: {"type": "string"}
        for name in ("aimass-project", "aimass-actor", "aimass-deadline", "ce-correlationid", "traceparent")
    },
}


def document(declared: list[Declaration]) -> Document:
    """Channels, operations of each service, messages with schemas and headers, streams, and how one gets in."""
    merged = _Merged(declared)
    for declaration in declared:
        merged.add_events(declaration)
        merged.add_answers(declaration)
    for declaration in declared:
        merged.add_questions(declaration)
        merged.add_further(declaration)
    return merged.document


def lines(whole: Document, depth: int = 0) -> Iterator[str]:
    """The text of a document: a line for each channel, operation, message and schema, so that changes show as such."""
    indent, last = " " * (depth + 1), len(whole) - 1
    yield "{"
    for place, (name, value) in enumerate(whole.items()):
        comma, text = "," * (place < last), json.dumps(name)
        if isinstance(value, dict) and name in OPENED:
            opening, *rest = lines(value, depth + 1)
            yield f"{indent}{text}: {opening}"
            yield from (*rest[:-1], f"{rest[-1]}{comma}")
        else:
            yield f"{indent}{text}: {json.dumps(value, ensure_ascii=False)}{comma}"
    yield f"{' ' * depth}}}"


def _models(declared: Iterable[Declaration]) -> Iterator[type[BaseModel]]:
    for declaration in declared:
        yield from (*declaration.hears, *declaration.obeys, *said_by(declaration.service))
        for request in declaration.answers:
            yield from (request, request.reply_type())


def _stream_of(subject: str) -> str:
    """The stream that keeps a subject, if one does."""
    plain = re.sub(r"[*>]|\{\w+\}", "x", subject)
    return next((stream.name or "" for stream in STREAMS if is_heard(stream.subjects or (), plain)), "")


def _streams() -> Document:
    shown = ("subjects", "max_age", "max_bytes")
    return {
        stream.name or "": {"keeps": ", ".join(stream.subjects or ())}
        | {name: words(name, getattr(stream, name) or 0) for name in shown[1:]}
        | {"retention": str(getattr(stream.retention, "value", "limits")), "when_full": _when_full(stream)}
        for stream in STREAMS
    }


def _when_full(stream: Any) -> str:
    return "refuses what is new" if stream.discard.value == "new" else "drops what is oldest"


class _Merged:
    """Adds what services declare to one document."""

    def __init__(self, declared: list[Declaration]) -> None:
        models = [(model, "serialization") for model in dict.fromkeys(_models(declared))]
        references, found = models_json_schema(models, ref_template=SCHEMAS, by_alias=False)  # type: ignore[arg-type]
        self._references = {model: reference for (model, _), reference in references.items()}
        schemas = plain(found.get("$defs", {})) | {"EventHeaders": EVENT_HEADERS, "RequestHeaders": REQUEST_HEADERS}
        self.document: Document = {
            "asyncapi": "3.0.0",
            "id": "urn:aimass",
            "info": {"title": "AI Mass", "version": VERSION, "description": DESCRIPTION},
            "defaultContentType": JSON,
            "servers": {"bus": SERVER},
            "channels": {},
            "operations": {},
            "components": {
                "schemas": dict(sorted(schemas.items())),
                "messages": {},
                "securitySchemes": {"busUser": {"type": "userPassword", "description": "a user of the bus"}},
            },
            "x-streams": _streams(),
        }
        self._channels: Document = self.document["channels"]

    def add_events(self, declaration: Declaration) -> None:
        """What the service hears, obeys and says."""
        for event in declaration.hears:
            self._add_event(declaration.service, "receive", event, f"{event.domain()}.{event.fact()}", event.stream)
        for command in declaration.obeys:
            name = f"command.{declaration.service}.{snake(command.__name__)}"
            self._add_event(declaration.service, "receive", command, name, "CMD")
        for event in said_by(declaration.service):
            self._add_event(declaration.service, "send", event, f"{event.domain()}.{event.fact()}", event.stream)

    def add_answers(self, declaration: Declaration) -> None:
        for request in declaration.answers:
            name = f"rpc.{declaration.service}.{request.verb()}"
            self._add_channel(
                name, request.subject(declaration.service), self._message(name, request, "RequestHeaders")
            )
            self._add_channel(f"{name}.reply", None, self._message(f"{name}.reply", request.reply_type()))
            operation = self._add_operation(declaration.service, "receive", name, summary_of(request))
            operation |= {"reply": _reply(name), "bindings": {"nats": {"queue": declaration.service}}}

    def add_questions(self, declaration: Declaration) -> None:
        """What the service asks of those whose answers are known by now."""
        for name, channel in list(self._channels.items()):
            if is_heard(declaration.asks, channel["address"] or ""):
                summary = self.document["components"]["messages"][name]["summary"]
                self._add_operation(declaration.service, "send", name, summary)["reply"] = _reply(name)

    def add_further(self, declaration: Declaration) -> None:
        """Subjects of which the declaration names no bodies, and those that follow from its work."""
        service = declaration.service
        for subject in declaration.publishes:
            self._add_subject(service, "send", subject, BINARY, "Messages that are no events.")
        for subject in declaration.subscribes:
            self._add_subject(service, "receive", subject, BINARY, "Messages that are no events.")
        if declaration.wildcards():
            self._add_subject(service, "send", dlq_subject(service), JSON, "Messages that the service gave up on.")
            self._add_subject(service, "receive", retry_subject(service), JSON, "Dead letters that it tries once more.")
        if service in TASK_SERVICES.values():
            self._add_subject(service, "send", log_subject("*", "*"), JSON, "Lines that tasks log.")

    def _add_event(self, service: str, action: str, kind: type[Event] | type[Command], name: str, stream: str) -> None:
        if name not in self._channels:
            message = self._message(name, kind, "EventHeaders", kind.type_name())
            message["correlationId"] = {"location": "$message.header#/ce-correlationid"}
            self._add_channel(name, kind.subject("{project}"), message)
        operation = self._add_operation(service, action, name, summary_of(kind))
        if action == "receive":
            operation["x-consumer"] = f"{stream}/{service}"

    def _add_subject(self, service: str, action: str, subject: str, content_type: str, summary: str) -> None:
        name = re.sub(r"\W+", "_", subject.lower().replace("*", "x").replace(">", "rest").lstrip("$"))
        if name not in self._channels:
            self._add_channel(name, subject.replace(">", "{rest}"), {"contentType": content_type, "summary": summary})
        self._add_operation(service, action, name, summary)

    def _message(self, name: str, body: type[BaseModel], headers: str = "", type_name: str = "") -> Document:
        found: Document = {"name": type_name or body.__name__, "title": body.__name__, "summary": summary_of(body)}
        found |= {"contentType": JSON, "payload": self._references[body]}
        return found | ({"headers": {"$ref": f"#/components/schemas/{headers}"}} if headers else {})

    def _add_channel(self, name: str, subject: str | None, message: Document) -> None:
        address, parameters = addressed(subject, "project", "model", "part") if subject else (None, {})
        self.document["components"]["messages"][name] = message
        channel = {"address": address, "messages": {name: {"$ref": f"#/components/messages/{name}"}}}
        stream = _stream_of(subject or "")
        more = {"parameters": parameters} if parameters else {}
        self._channels[name] = channel | more | ({"x-stream": stream} if stream else {})

    def _add_operation(self, service: str, action: str, name: str, summary: str) -> Document:
        operation: Document = {
            "action": action,
            "channel": {"$ref": f"#/channels/{name}"},
            "summary": summary,
            "tags": [{"name": service}],
            "messages": [{"$ref": f"#/channels/{name}/messages/{name}"}],
        }
        self.document["operations"][f"{service}.{action}.{name}"] = operation
        return operation


def _reply(name: str) -> Document:
    return {
        "address": {"location": "$message.header#/reply", "description": "the inbox of the caller"},
        "channel": {"$ref": f"#/channels/{name}.reply"},
        "messages": [{"$ref": f"#/channels/{name}.reply/messages/{name}.reply"}],
    }
