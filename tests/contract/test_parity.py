"""Every event and command equals its message in proto-schemas/, and survives the way through protobuf and back."""

import inspect
import subprocess
import sys
import typing
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from types import UnionType
from typing import Any

import pytest
from google.protobuf import descriptor_pb2, json_format, message_factory
from google.protobuf.descriptor import Descriptor, FieldDescriptor
from google.protobuf.descriptor_pool import DescriptorPool
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import shared.commands.trainer
from shared.events import EVENTS, common, predictions, quotas, usage
from shared.events.base import Command, Message
from shared.names import snake

ROOT = Path(__file__).resolve().parents[2]
MESSAGES = {
    **EVENTS,
    **{
        f"aimass.common.v1.{kind.__name__}": kind
        for kind in (common.TensorSpec, common.Signature, common.GateCondition)
    },
    "aimass.predictions.v1.Prediction": predictions.Prediction,
    "aimass.predictions.v1.PredictionColumns": predictions.PredictionColumns,
    "aimass.usage.v1.UsageCount": usage.UsageCount,
    "aimass.quotas.v1.QuotaLimit": quotas.QuotaLimit,
    **{
        kind.type_name(): kind
        for _, kind in inspect.getmembers(shared.commands.trainer, inspect.isclass)
        if issubclass(kind, Command) and kind is not Command
    },
}


@cache
def pool() -> DescriptorPool:
    command = [str(Path(sys.executable).parent / "buf"), "build", str(ROOT / "proto-schemas"), "-o", "-"]
    image = subprocess.run(command, capture_output=True, check=True).stdout
    files = descriptor_pb2.FileDescriptorSet.FromString(image)
    found = DescriptorPool()
    for file in files.file:
        found.Add(file)
    return found


def descriptor(name: str) -> Descriptor:
    return pool().FindMessageTypeByName(name)


SCALARS = {
    FieldDescriptor.TYPE_STRING: str,
    FieldDescriptor.TYPE_BOOL: bool,
    FieldDescriptor.TYPE_INT32: int,
    FieldDescriptor.TYPE_INT64: int,
    FieldDescriptor.TYPE_DOUBLE: float,
}


def expected(field: FieldDescriptor) -> Any:
    """The Python type of a field's single value."""
    if field.message_type is None:
        return field.enum_type.name if field.enum_type else SCALARS[field.type]
    if field.message_type.full_name == "google.protobuf.Timestamp":
        return datetime
    return field.message_type.name


def plain(annotation: Any) -> tuple[Any, bool]:
    """The bare type, and whether it may be absent."""
    if typing.get_origin(annotation) in (typing.Union, UnionType):
        inner = next(arg for arg in typing.get_args(annotation) if arg is not type(None))
        return plain(inner)[0], True
    if typing.get_origin(annotation) is typing.Annotated:
        return plain(typing.get_args(annotation)[0])
    if getattr(annotation, "__name__", "") == "AwareDatetime":
        return datetime, False
    return annotation, False


def named(kind: Any) -> Any:
    return kind if kind in (str, bool, int, float, datetime) else kind.__name__


def check_field(field: FieldDescriptor, annotation: Any) -> None:
    kind, optional = plain(annotation)
    origin, arguments = typing.get_origin(kind), typing.get_args(kind)
    if origin is dict and arguments[1] is Any:
        assert field.message_type.full_name == "google.protobuf.Struct"
    elif origin is dict:
        assert field.message_type.GetOptions().map_entry
        assert expected(field.message_type.fields_by_name["value"]) == named(arguments[1])
    elif origin is tuple:
        assert field.is_repeated
        assert expected(field) == named(plain(arguments[0])[0])
    else:
        assert expected(field) == named(kind)
        assert optional == (field.has_presence and not _is_required_message(field))


def _is_required_message(field: FieldDescriptor) -> bool:
    return field.message_type is not None and field.message_type.full_name != "google.protobuf.Timestamp"


@pytest.mark.parametrize("name", MESSAGES)
def test_fields_are_the_same(name: str) -> None:
    model, found = MESSAGES[name], descriptor(name)
    hints = typing.get_type_hints(model, include_extras=True)
    assert list(model.model_fields) == [field.name for field in found.fields]
    for field in found.fields:
        check_field(field, hints[field.name])
        assert field.name == snake(field.name)


@pytest.mark.parametrize("enum", [common.TaskState, common.Verdict])
def test_enums_are_the_same(enum: Any) -> None:
    found = pool().FindEnumTypeByName(f"aimass.common.v1.{enum.__name__}")
    assert [value.name for value in found.values] == [member.value for member in enum]


def test_no_message_is_without_a_model() -> None:
    command = [str(Path(sys.executable).parent / "buf"), "build", str(ROOT / "proto-schemas"), "-o", "-"]
    files = descriptor_pb2.FileDescriptorSet.FromString(subprocess.run(command, capture_output=True, check=True).stdout)
    names = {f"{file.package}.{message.name}" for file in files.file for message in file.message_type}
    assert {name for name in names if name.startswith("aimass.")} == set(MESSAGES)


TEXT = st.text(st.characters(codec="utf-8"), max_size=8)
DOUBLE = st.floats(allow_nan=False)
FINITE = st.floats(allow_nan=False, allow_infinity=False)
JSON = st.recursive(st.none() | st.booleans() | FINITE | TEXT, lambda inner: st.lists(inner, max_size=3), max_leaves=4)
MOMENT = st.datetimes(timezones=st.just(UTC)).filter(lambda moment: 1 < moment.year < 9999)


def values(annotation: Any, field: FieldDescriptor) -> st.SearchStrategy[Any]:
    kind, optional = plain(annotation)
    return st.none() | _values(kind, field) if optional else _values(kind, field)


def _values(kind: Any, field: FieldDescriptor) -> st.SearchStrategy[Any]:
    origin, arguments = typing.get_origin(kind), typing.get_args(kind)
    if origin is dict:
        return st.dictionaries(TEXT, JSON if arguments[1] is Any else _values(arguments[1], field), max_size=3)
    if origin is tuple:
        return st.lists(_values(plain(arguments[0])[0], field), max_size=3).map(tuple)
    if kind is int:
        bits = 63 if field.type == FieldDescriptor.TYPE_INT64 else 31
        return st.integers(-(2**bits), 2**bits - 1)
    if inspect.isclass(kind) and issubclass(kind, Message):
        return messages(kind)
    simple = {str: TEXT, bool: st.booleans(), float: DOUBLE, datetime: MOMENT}
    return simple[kind] if kind in simple else st.sampled_from(list(kind))


def messages(model: type[Message]) -> st.SearchStrategy[Message]:
    name = next(name for name, found in MESSAGES.items() if found is model)
    hints = typing.get_type_hints(model, include_extras=True)
    fields = {field.name: values(hints[field.name], field) for field in descriptor(name).fields}
    return st.fixed_dictionaries(fields).map(model.model_validate)


@pytest.mark.parametrize("name", MESSAGES)
@pytest.mark.parametrize("preserving", [True, False], ids=["snake", "camel"])
@settings(max_examples=15, deadline=None, suppress_health_check=list(HealthCheck))
@given(data=st.data())
def test_messages_survive_protobuf(name: str, preserving: bool, data: st.DataObject) -> None:
    model = MESSAGES[name]
    original = data.draw(messages(model))
    message = message_factory.GetMessageClass(descriptor(name))()
    json_format.Parse(original.model_dump_json(), message, descriptor_pool=pool())
    printed = json_format.MessageToJson(message, preserving_proto_field_name=preserving, descriptor_pool=pool())
    assert model.model_validate_json(printed) == original
