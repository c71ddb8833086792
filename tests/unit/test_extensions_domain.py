"""What extensions may hear and say: patterns that do not meet, and schemas that cost no more than they may."""

import asyncio
import threading
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from services.auth.extensions import domain
from services.auth.extensions.domain import Extension, draft
from services.auth.extensions.intake import Bucket
from services.auth.extensions.office import Office
from services.auth.extensions.schemas import MAX_BYTES, check_data, check_schema, read_object
from shared.errors import InvalidInput, TooManyEvents
from shared.rpc.auth import ChangeExtension, RegisterExtension

NOW = datetime(2030, 1, 1, tzinfo=UTC)


def made(**fields: Any) -> Extension:
    request = RegisterExtension(**{"name": "hook", "hears": ["models.>"]} | fields)
    return draft(request, "password", project="default", by="ada", now=NOW)


def schema(**fields: Any) -> dict[str, Any]:
    return {"type": "object"} | fields


@pytest.mark.parametrize(
    ("given", "found"),
    [
        (["VersionPromoted"], ("models.v1.version_promoted",)),
        (["*.v1.*", "*.v1.*"], ("*.v1.*",)),
        ([">"], (">",)),
        (["models.>", "tasks.v1.task_changed"], ("models.>", "tasks.v1.task_changed")),
        (["ext-shop.v1.order_placed"], ("ext-shop.v1.order_placed",)),
    ],
)
def test_what_is_heard(given: list[str], found: tuple[str, ...]) -> None:
    assert made(hears=given).hears == found


@pytest.mark.parametrize(
    "given",
    [
        *(["a.b"], ["a.b.c.d"], [""], ["models.>.x"], ["models .>"], ["models.v1.A"], ["$JS.>"], ["*"], ["../x.>"]),
        *(["models.>", "VersionPromoted"], [">", "tasks.>"], ["*.v1.a", "x.v1.*"], ["PredictionsLogged"]),
    ],
)
def test_what_cannot_be_heard_is_named(given: list[str]) -> None:
    with pytest.raises(InvalidInput) as raised:
        made(hears=given)
    assert raised.value.field == "hears"


@pytest.mark.parametrize(
    "given",
    [
        {"type": "array"},
        {},
        schema(properties={"a": {"pattern": "(a+)+$"}}),
        schema(patternProperties={"a": {}}),
        schema(properties={"a": {"uniqueItems": True}}),
        schema(properties={"a": {"$ref": "https://example.com/schema"}}),
        schema(properties={"a": {"$ref": "#"}}),
        schema(properties={"a": {"$ref": "#/$defs/b"}}),
        schema(properties={"a": {"$ref": "#/properties/a"}}),
        schema(**{"$id": "https://example.com/"}),
        schema(**{"$schema": "http://json-schema.org/draft-07/schema#"}),
        schema(**{"$defs": {"a": {"$ref": "#/$defs/a"}}, "$ref": "#/$defs/a"}),
        schema(properties={"a": {"type": "nothing"}}),
        schema(properties={"a": 1}),
        schema(properties=[]),
        schema(required="a"),
        schema(description="x" * 20_000),
    ],
)
def test_a_schema_that_is_none_or_asks_for_too_much(given: dict[str, Any]) -> None:
    with pytest.raises(InvalidInput) as raised:
        check_schema(given, "says.order_placed")
    assert (raised.value.field or "").startswith("says.order_placed")


def test_a_schema_that_doubles_with_each_reference_is_refused_at_once() -> None:
    doubling = {f"a{n}": {"allOf": [{"$ref": f"#/$defs/a{n + 1}"}] * 2} for n in range(60)}
    given = schema(**{"$defs": doubling | {"a60": {}}, "$ref": "#/$defs/a0"})
    with pytest.raises(InvalidInput, match="written out"):
        check_schema(given, "says.x")


def test_a_schema_that_is_too_deep() -> None:
    given: dict[str, Any] = {}
    for _ in range(40):
        given = {"items": given}
    with pytest.raises(InvalidInput, match="deep"):
        check_schema(schema(properties={"a": given}), "says.x")


def test_names_of_fields_are_no_keywords() -> None:
    given = schema(properties={"pattern": {"type": "string"}, "$id": {"$ref": "#/$defs/a-1"}}, **{"$defs": {"a-1": {}}})
    check_schema(given, "says.x")
    check_data(given, {"pattern": "a"})


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"1",
        b"null",
        b'{"a": Infinity}',
        b'{"a": 1, "a": 2}',
        b"\xff",
        b'{"a":' * 5000,
        b'{"a": [' + b"1," * 9999 + b"1]}",
    ],
)
def test_a_body_that_is_no_event(body: bytes) -> None:
    with pytest.raises(InvalidInput) as raised:
        read_object(body)
    assert raised.value.field == "data"


def test_the_wrong_field_is_named() -> None:
    given = schema(properties={"lines": {"items": {"properties": {"count": {"type": "integer"}}}}})
    with pytest.raises(InvalidInput) as raised:
        check_data(given, {"lines": [{"count": 1}, {"count": "x"}]})
    assert raised.value.field == "data.lines.1.count"


def test_a_start_lies_in_the_past() -> None:
    assert made(start="all").starts_at is None and made(start="now").starts_at == NOW
    with pytest.raises(InvalidInput):
        made(start=NOW + timedelta(days=1))


def test_who_came_in_before_a_change_must_go() -> None:
    extension = made()
    known = {extension.user: extension}
    assert not domain.must_go(extension.pass_name, known) and not domain.must_go("gateway", known)
    later = NOW + timedelta(microseconds=1)
    assert domain.must_go(extension.pass_name, {extension.user: domain.rotated(extension, "other", later)})
    assert domain.must_go(extension.pass_name, {})
    shut = domain.changed(extension, ChangeExtension(name="hook", disabled=True), NOW)
    assert domain.must_go(extension.pass_name, {extension.user: shut})


def test_one_that_would_do_nothing_is_refused() -> None:
    with pytest.raises(InvalidInput):
        domain.changed(made(), ChangeExtension(name="hook", hears=[]), NOW)


def test_names_of_others_are_nobodys() -> None:
    assert domain.name_of("ext.default.hook") == ("default", "hook")
    for user in ("", "gateway", "ext.", "ext.a", "ext.a.b.c", "extension", "x.a.b"):
        assert domain.name_of(user) is None


def test_a_bucket_fills_with_time() -> None:
    bucket = Bucket()
    for _ in range(2):
        bucket.take("a", 2, 0.0)
    with pytest.raises(TooManyEvents) as raised:
        bucket.take("a", 2, 0.1)
    assert raised.value.retry_after == 1
    bucket.take("b", 2, 0.1)
    bucket.take("a", 2, 0.6)


def test_the_protos_of_one_are_bounded_together() -> None:
    text = "message A {}".ljust(MAX_BYTES)
    assert len(made(says={f"fact_{number}": text for number in range(4)}).says) == 4
    with pytest.raises(InvalidInput, match="together") as raised:
        made(says={f"fact_{number}": text for number in range(5)})
    assert raised.value.field == "says"


async def test_who_brings_schemas_that_take_long_holds_nobody_up() -> None:
    nobody: Any = None
    office, begun, may_end = Office(nobody, nobody, nobody, ""), threading.Event(), threading.Event()

    def make() -> Extension:
        begun.set()
        assert may_end.wait(60)
        return made(hears=[">"])

    reading = asyncio.create_task(office.read(make))
    while not begun.is_set():
        await asyncio.sleep(0.01)
    after = asyncio.create_task(office.read(lambda: made(hears=["*.v1.*"])))
    await asyncio.sleep(0)
    assert office.turn.locked() and not after.done()
    may_end.set()
    assert [(await each).hears for each in (reading, after)] == [(">",), ("*.v1.*",)]
