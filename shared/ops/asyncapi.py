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
SCHEMAS = "#/components/schemas/{model}"
HEADERS = {"type": "object", "properties": {"ce-type": {"type": "string"}, "ce-id": {"type": "string"}}}


def document(declaration: Declaration) -> Document:
    """What the service receives and sends, and with which bodies."""
    found: Document = {
        "asyncapi": "3.0.0",
        "info": {
            "title": f"AI Mass {declaration.service}",
            "version": VERSION,
            "description": "Bodies are JSON; events carry their CloudEvents attributes in headers that begin with ce-.",
        },
        "defaultContentType": "application/json",
        "channels": {},
        "operations": {},
        "components": {"messages": {}, "schemas": _schemas(declaration)},
    }
    for event in declaration.hears:
        _add_message(found, event, "receive")
    for command in declaration.obeys:
        _add_message(found, command, "receive")
    for said in said_by(declaration.service):
        _add_message(found, said, "send")
    for request in declaration.answers:
        _add_request(found, request, declaration.service)
    return found


def _models(declaration: Declaration) -> Iterator[type[BaseModel]]:
    yield from declaration.hears
    yield from declaration.obeys
    yield from said_by(declaration.service)
    for request in declaration.answers:
        yield request
        yield request.reply_type()


def _schemas(declaration: Declaration) -> Document:
    """Bodies as they are written on the bus."""
    inputs = [(model, "serialization") for model in dict.fromkeys(_models(declaration))]
    _, schemas = models_json_schema(inputs, ref_template=SCHEMAS, by_alias=False)  # type: ignore[arg-type]
    definitions: Document = schemas.get("$defs", {})
    return definitions


def _add_message(found: Document, kind: type[Event] | type[Command], action: str) -> None:
    name = snake(kind.__name__)
    address, parameters = _address(kind.subject("{project}"))
    _add_body(found, name, kind, HEADERS)
    found["channels"][name] = {"address": address, "parameters": parameters, "messages": _messages(name)}
    found["operations"][f"{action}_{name}"] = _operation(action, name, kind)


def _add_request(found: Document, request: type[Request[Any]], service: str) -> None:
    """A request is answered on the inbox that its caller names."""
    name, reply = request.verb(), f"{request.verb()}_reply"
    _add_body(found, name, request)
    _add_body(found, reply, request.reply_type())
    found["channels"][name] = {"address": request.subject(service), "messages": _messages(name)}
    found["channels"][reply] = {"address": None, "messages": _messages(reply)}
    operation = _operation("receive", name, request)
    operation["reply"] = {
        "address": {"location": "$message.header#/reply", "description": "the inbox of the caller"},
        "channel": {"$ref": f"#/channels/{reply}"},
        "messages": [{"$ref": f"#/channels/{reply}/messages/{reply}"}],
    }
    found["operations"][f"receive_{name}"] = operation


def _add_body(found: Document, name: str, model: type[BaseModel], headers: Document | None = None) -> None:
    body: Document = {"title": model.__name__, "payload": {"$ref": SCHEMAS.format(model=model.__name__)}}
    found["components"]["messages"][name] = body | ({"headers": headers} if headers else {})


def _messages(name: str) -> Document:
    return {name: {"$ref": f"#/components/messages/{name}"}}


def _operation(action: str, channel: str, model: type[BaseModel]) -> Document:
    return {
        "action": action,
        "channel": {"$ref": f"#/channels/{channel}"},
        "summary": (model.__doc__ or "").strip().splitlines()[0],
        "messages": [{"$ref": f"#/channels/{channel}/messages/{channel}"}],
    }


def _address(subject: str) -> tuple[str, Document]:
    """The subject with a name for each of its parts that varies."""
    names = iter(["model", "part"])
    address = re.sub(r"[*>]", lambda _: "{" + next(names) + "}", subject)
    return address, {name: {"description": f"the {name}"} for name in re.findall(r"\{(\w+)\}", address)}
