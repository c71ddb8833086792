"""The AsyncAPI document of each service is valid, complete, and says what FastStream listens to."""

import re
import tomllib
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
from asyncapi3 import AsyncAPI3
from faststream.specification import AsyncAPI
from jsonschema import Draft202012Validator

from shared.bus import Bus
from shared.dispatch import Dispatcher
from shared.events import said_by
from shared.handlers import Handlers
from shared.ops.asyncapi import document
from shared.settings import ServiceSettings
from shared.streams import SERVICES, Declaration, retry_subject
from shared.version import VERSION

ROOT = Path(__file__).resolve().parents[2]


def handlers_of(service: str) -> Handlers:
    found: Handlers = import_module(f"services.{service}.handlers").HANDLERS
    return found


def references(node: Any) -> list[str]:
    if isinstance(node, dict):
        own = [node["$ref"]] if isinstance(node.get("$ref"), str) else []
        return own + [found for child in node.values() for found in references(child)]
    return [found for child in node for found in references(child)] if isinstance(node, list) else []


@pytest.mark.parametrize("service", SERVICES)
def test_it_is_valid(service: str) -> None:
    found = document(handlers_of(service).declaration)
    AsyncAPI3.model_validate(found)
    for reference in references(found):
        node: Any = found
        for name in reference.removeprefix("#/").split("/"):
            node = node[name]
    for schema in found["components"]["schemas"].values():
        Draft202012Validator.check_schema(schema)


@pytest.mark.parametrize("service", SERVICES)
def test_it_says_all_that_the_service_says(service: str) -> None:
    found = document(handlers_of(service).declaration)
    declaration = handlers_of(service).declaration
    sent = {
        name
        for name, operation in found["operations"].items()
        if operation["action"] == "send" and not is_further(address_of(found, operation), declaration)
    }
    assert sent == {f"send_{event.fact()}" for event in said_by(service)}


@pytest.mark.parametrize("service", SERVICES)
def test_it_names_whom_the_service_asks_and_its_further_subjects(service: str) -> None:
    declaration = handlers_of(service).declaration
    found = document(declaration)
    further = [
        (operation["action"], re.sub(r"\{\w+\}", "*", address))
        for operation in found["operations"].values()
        if is_further(address := address_of(found, operation), declaration)
    ]
    expected = [("send", subject.replace(">", "*")) for subject in declaration.asks]
    expected += [("send", subject.replace(">", "*")) for subject in declaration.publishes]
    expected += [("receive", subject.replace(">", "*")) for subject in declaration.subscribes]
    assert sorted(further) == sorted(expected)


def address_of(found: dict[str, Any], operation: dict[str, Any]) -> str:
    return str(found["channels"][operation["channel"]["$ref"].rpartition("/")[2]]["address"])


def is_further(address: str, declaration: Declaration) -> bool:
    """Whether it is neither an event, nor a command, nor a request that the service answers."""
    plain = re.sub(r"\{\w+\}", "*", address)
    further = (*declaration.asks, *declaration.publishes, *declaration.subscribes)
    return plain in {subject.replace(">", "*") for subject in further}


@pytest.mark.parametrize("service", SERVICES)
def test_it_agrees_with_what_faststream_listens_to(service: str) -> None:
    bus, handlers = Bus(service, ServiceSettings()), handlers_of(service)
    dispatcher = Dispatcher(bus, handlers, None, None, None)
    dispatcher.connect()
    theirs: Any = AsyncAPI(bus.broker, title=service).to_specification().to_jsonable()
    heard = {channel["address"] for channel in theirs["channels"].values()}
    if handlers.in_batches:  # which are pulled without FastStream
        heard |= {subject for each in dispatcher.consumers.values() for subject in each.filter_subjects or ()}
    heard -= {retry_subject(service)}
    told = ("cmd.", "evt.") if handlers.others else ("cmd.",)  # who hears extensions listens to all events
    assert {address for address in heard if not address.startswith(told)} == {
        re.sub(r"\{\w+\}", "*", address) for address in received(handlers) if not address.startswith(told)
    }
    assert ("evt.>" in heard) == bool(handlers.others)


def received(handlers: Handlers) -> set[str]:
    """The subjects that the document says are received; commands have one wildcard for all at FastStream."""
    found = document(handlers.declaration)
    operations = [each for each in found["operations"].values() if each["action"] == "receive"]
    addresses = {address_of(found, each) for each in operations}
    return {address for address in addresses if not is_further(address, handlers.declaration)}


def test_the_version_is_that_of_the_project() -> None:
    assert tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"] == VERSION
