"""The AsyncAPI 3 document of a service, from its declaration and the events that it says.

FastStream's own document knows no outbox, and shows neither the bodies of requests nor which event comes on which
subject.
"""

import re
from collections.abc import Iterator
from typing import Any

from pydantic import BaseModel
from pydantic.json_schema import models_json_schema

from shared.events import said_by
from shared.events.base import Command, Event
from shared.names import snake
from shared.rpc.base import Request
from shared.streams import Declaration
from shared.version import VERSION

Document = dict[str, Any]
References = dict[Any, Document]
SCHEMAS = "#/components/schemas/{model}"
DESCRIPTION = "Bodies are JSON; events carry their CloudEvents attributes in headers that begin with ce-."
JSON, BINARY = "application/json", "application/octet-stream"
NAMED, VALUES = frozenset({"properties", "$defs"}), frozenset({"default", "const", "enum", "examples"})
HEADERS = {"type": "object", "properties": {"ce-type": {"type": "string"}, "ce-id": {"type": "string"}}}


def document(declaration: Declaration) -> Document:
    """What the service receives and sends, and with which bodies."""
    references, schemas = _schemas(declaration)
    found = _Builder(declaration.service, references, schemas)
    for event in declaration.hears:
        found.add_message(event, "receive")
    for command in declaration.obeys:
        found.add_message(command, "receive")
    for said in said_by(declaration.service):
        found.add_message(said, "send")
    for request in declaration.answers:
        found.add_request(request)
    for asked in declaration.asks:
        found.add_subject("send", asked, JSON, f"What {asked.split('.')[1]} answers: see its own document.")
    for subject in declaration.publishes:
        found.add_subject("send", subject, BINARY, "Messages that are no events.")
    for subject in declaration.subscribes:
        found.add_subject("receive", subject, BINARY, "Messages that are no events.")
    return found.document


def _models(declaration: Declaration) -> Iterator[type[BaseModel]]:
    yield from declaration.hears
    yield from declaration.obeys
    yield from said_by(declaration.service)
    for request in declaration.answers:
        yield request
        yield request.reply_type()


def _schemas(declaration: Declaration) -> tuple[References, Document]:
    """Bodies as they are written on the bus: the reference to each, and the schemas; names may occur twice."""
    models = [(model, "serialization") for model in dict.fromkeys(_models(declaration))]
    references, found = models_json_schema(models, ref_template=SCHEMAS, by_alias=False)  # type: ignore[arg-type]
    return {model: reference for (model, _), reference in references.items()}, plain(found.get("$defs", {}))


def plain(schemas: Document) -> Document:
    """Schemas as AsyncAPI has them: without discriminators, which are names of schemas there, and made-up titles."""
    return {name: _plain(schema) for name, schema in schemas.items()}


def _plain(schema: Any) -> Any:
    if isinstance(schema, list):
        return [_plain(each) for each in schema]
    if not isinstance(schema, dict):
        return schema
    kept = ((name, value) for name, value in schema.items() if name not in ("discriminator", "title"))
    return {name: plain(value) if name in NAMED else value if name in VALUES else _plain(value) for name, value in kept}


class _Builder:
    """Adds channels, operations and messages to a document."""

    def __init__(self, service: str, references: References, schemas: Document) -> None:
        self._service, self._references = service, references
        self.document: Document = {
            "asyncapi": "3.0.0",
            "info": {"title": f"AI Mass {service}", "version": VERSION, "description": DESCRIPTION},
            "defaultContentType": JSON,
            "channels": {},
            "operations": {},
            "components": {"messages": {}, "schemas": schemas},
        }

    def add_message(self, kind: type[Event] | type[Command], action: str) -> None:
        name = snake(kind.__name__)
        address, parameters = addressed(kind.subject("{project}"), "model", "part")
        self._add_channel(name, address, kind, {"headers": HEADERS})
        self.document["channels"][name]["parameters"] = parameters
        self.document["operations"][f"{action}_{name}"] = _operation(action, name, summary_of(kind))

    def add_request(self, request: type[Request[Any]]) -> None:
        """A request is answered on the inbox that its caller names."""
        name, reply = request.verb(), f"{request.verb()}_reply"
        self._add_channel(name, request.subject(self._service), request)
        self._add_channel(reply, None, request.reply_type())
        operation = _operation("receive", name, summary_of(request))
        operation["reply"] = {
            "address": {"location": "$message.header#/reply", "description": "the inbox of the caller"},
            "channel": {"$ref": f"#/channels/{reply}"},
            "messages": [{"$ref": f"#/channels/{reply}/messages/{reply}"}],
        }
        self.document["operations"][f"receive_{name}"] = operation

    def add_subject(self, action: str, subject: str, content_type: str, summary: str) -> None:
        """A subject of which the declaration names no bodies."""
        name = re.sub(r"\W+", "_", subject.lower().partition("{")[0].strip("$.*>"))
        address, parameters = addressed(subject.replace(">", "{rest}"), "project", "model", "part")
        message = {"title": name, "contentType": content_type}
        self.document["components"]["messages"][name] = message
        messages = {name: {"$ref": f"#/components/messages/{name}"}}
        channel = {"address": address, "messages": messages} | ({"parameters": parameters} if parameters else {})
        self.document["channels"][name] = channel
        self.document["operations"][f"{action}_{name}"] = _operation(action, name, summary)

    def _add_channel(self, name: str, address: str | None, body: type[BaseModel], more: Document | None = None) -> None:
        message = {"title": body.__name__, "payload": self._references[body]} | (more or {})
        self.document["components"]["messages"][name] = message
        messages = {name: {"$ref": f"#/components/messages/{name}"}}
        self.document["channels"][name] = {"address": address, "messages": messages}


def summary_of(model: type[BaseModel]) -> str:
    """The first line of what a model says of itself."""
    return next(iter((model.__doc__ or "").strip().splitlines()), "")


def _operation(action: str, channel: str, summary: str) -> Document:
    return {
        "action": action,
        "channel": {"$ref": f"#/channels/{channel}"},
        "summary": summary,
        "messages": [{"$ref": f"#/channels/{channel}/messages/{channel}"}],
    }


def addressed(subject: str, *names: str) -> tuple[str, Document]:
    """The subject with a name for each of its parts that varies."""
    unnamed = iter(names)
    address = re.sub(r"[*>]", lambda _: "{" + next(unnamed) + "}", subject)
    return address, {name: {"description": f"the {name}"} for name in re.findall(r"\{(\w+)\}", address)}
