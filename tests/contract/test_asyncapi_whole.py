"""The AsyncAPI document of the whole system: valid by the official schema, complete, fresh, shown as a catalogue."""

import json
import re
from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft7Validator, Draft202012Validator

from deploy.asyncapi import document, lines
from deploy.bus_plan import matches
from deploy.event_catalogue import events_page, users
from deploy.provision import declarations
from deploy.reference import ASYNCAPI, EVENTS_PAGE
from shared.events import EVENTS
from shared.streams import STREAMS, Declaration, permissions
from tests.contract.test_asyncapi import references

# The schema of https://github.com/asyncapi/spec-json-schemas (package @asyncapi/specs 6.11.1), without white space.
OFFICIAL = Draft7Validator(json.loads((Path(__file__).parent / "asyncapi" / "3.0.0.json").read_text()))
WHOLE = document(declarations())
each_service = pytest.mark.parametrize("declaration", declarations(), ids=lambda declaration: declaration.service)
NOT_MESSAGES = ("$JS.", "$KV.", "_INBOX")


def test_it_is_valid_by_the_official_schema() -> None:
    assert [error.message for error in OFFICIAL.iter_errors(WHOLE)] == []


@pytest.mark.parametrize("part", ["info", "servers", "channels", "operations"])
def test_the_official_schema_sees_what_is_wrong(part: str) -> None:
    wrong = deepcopy(WHOLE)
    wrong[part] = {"wrong": 1}
    assert list(OFFICIAL.iter_errors(wrong))


def test_all_that_it_refers_to_is_there() -> None:
    for reference in set(references(WHOLE)):
        node: Any = WHOLE
        for name in reference.removeprefix("#/").split("/"):
            node = node[name]
    for schema in WHOLE["components"]["schemas"].values():
        Draft202012Validator.check_schema(schema)


def test_it_is_fresh_and_so_is_the_catalogue() -> None:
    assert ASYNCAPI.read_text() == "\n".join(lines(WHOLE)) + "\n", "run ./justw docs and commit docs/asyncapi.json"
    assert json.loads(ASYNCAPI.read_text()) == WHOLE
    assert EVENTS_PAGE.read_text() == "\n".join(events_page(WHOLE)).rstrip("\n") + "\n", "run ./justw docs"


def operations(service: str, action: str) -> dict[str, dict[str, Any]]:
    """The operations of a service, by the addresses of their channels."""
    found = [
        each
        for each in WHOLE["operations"].values()
        if each["action"] == action and each["tags"] == [{"name": service}]
    ]
    return {WHOLE["channels"][each["channel"]["$ref"].rpartition("/")[2]]["address"]: each for each in found}


def plain(address: str) -> str:
    return re.sub(r"\{\w+\}", "x", address)


@each_service
def test_whatever_a_service_may_publish_is_an_operation_and_the_reverse(declaration: Declaration) -> None:
    allowed = [subject for subject in permissions(declaration).publish if not subject.startswith(NOT_MESSAGES)]
    addresses = operations(declaration.service, "send")
    sent = {plain(address) for address in addresses if not address.startswith(NOT_MESSAGES)}
    assert [address for address in sent if not any(matches(pattern, address) for pattern in allowed)] == []
    assert [pattern for pattern in allowed if not any(matches(pattern, address) for address in sent)] == []


@each_service
def test_whatever_a_service_hears_and_answers_is_an_operation(declaration: Declaration) -> None:
    received = {plain(address): each for address, each in operations(declaration.service, "receive").items()}
    heard = {kind.subject("x").replace("*", "x") for kind in (*declaration.hears, *declaration.obeys)}
    answered = {request.subject(declaration.service) for request in declaration.answers}
    assert heard | answered <= set(received)
    assert all("reply" in received[subject] for subject in answered)
    assert all(received[subject]["x-consumer"].endswith(f"/{declaration.service}") for subject in heard)


def test_every_event_has_its_headers_its_schema_and_its_stream() -> None:
    by_type = {each.get("name"): (name, each) for name, each in WHOLE["components"]["messages"].items()}
    headers = WHOLE["components"]["schemas"]["EventHeaders"]
    assert {"ce-id", "ce-source", "ce-type", "ce-specversion"} <= set(headers["required"])
    for event in EVENTS.values():
        name, message = by_type[event.type_name()]
        assert message["headers"] == {"$ref": "#/components/schemas/EventHeaders"}
        schema = WHOLE["components"]["schemas"][message["payload"]["$ref"].rpartition("/")[2]]
        assert set(schema["properties"]) == set(event.model_fields)
        assert WHOLE["channels"][name]["x-stream"] == event.stream
        assert users(WHOLE, name, "send")
    assert set(WHOLE["x-streams"]) == {stream.name for stream in STREAMS}


def test_the_catalogue_shows_every_event_and_command() -> None:
    headings = re.findall(r"^### (\w+)$", EVENTS_PAGE.read_text(), re.MULTILINE)
    commands = [command.__name__ for declaration in declarations() for command in declaration.obeys]
    assert sorted(headings) == sorted([*(event.__name__ for event in EVENTS.values()), *commands])
