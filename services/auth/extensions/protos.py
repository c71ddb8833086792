"""A .proto file as the JSON Schema of what its message is in JSON (ProtoJSON); pure.

So one check holds for both; numbers of 64 bits may be texts, a field has its own name or its name in lowerCamelCase,
and what is not there has its default: protobuf.dev/programming-guides/json.
"""

import re
from collections.abc import Iterable
from itertools import combinations
from typing import Any, NoReturn

from antlr4.error.ErrorListener import ErrorListener
from proto_schema_parser import ast
from proto_schema_parser.parser import Parser

from services.auth.extensions.schemas import MAX_BYTES
from shared.errors import InvalidInput

Schema = dict[str, Any]
Field = ast.Field | ast.MapField
MAX_TOGETHER = 4 * MAX_BYTES


def _whole(least: int, most: int) -> Schema:
    return {"type": "integer", "minimum": least, "maximum": most}


_INT32, _UINT32 = _whole(-(2**31), 2**31 - 1), _whole(0, 2**32 - 1)
_INT64, _UINT64 = (
    {"anyOf": [_whole(*bounds), {"type": "string", "minLength": 1, "maxLength": 20}]}
    for bounds in ((-(2**63), 2**63 - 1), (0, 2**64 - 1))
)
_FLOAT = {"anyOf": [{"type": "number"}, {"enum": ["NaN", "Infinity", "-Infinity"]}]}
_TEXT, _BOOL = {"type": "string"}, {"type": "boolean"}
SCALARS: dict[str, Schema] = {
    **dict.fromkeys(("int32", "sint32", "sfixed32"), _INT32),
    **dict.fromkeys(("uint32", "fixed32"), _UINT32),
    **dict.fromkeys(("int64", "sint64", "sfixed64"), _INT64),
    **dict.fromkeys(("uint64", "fixed64"), _UINT64),
    **dict.fromkeys(("float", "double"), _FLOAT),
    **dict.fromkeys(("string", "bytes"), _TEXT),
    "bool": _BOOL,
}
_KNOWN: dict[str, Schema] = {
    **dict.fromkeys(("Timestamp", "Duration", "FieldMask", "StringValue", "BytesValue"), _TEXT),
    **dict.fromkeys(("Struct", "Empty"), {"type": "object"}),
    **dict.fromkeys(("DoubleValue", "FloatValue"), _FLOAT),
    "ListValue": {"type": "array"},
    "Value": {},
    "BoolValue": _BOOL,
    "Int32Value": _INT32,
    "UInt32Value": _UINT32,
    "Int64Value": _INT64,
    "UInt64Value": _UINT64,
}
TYPES = SCALARS | {f"google.protobuf.{name}": schema for name, schema in _KNOWN.items()}


class _Refusing(ErrorListener):  # type: ignore[misc]
    def __init__(self, field: str) -> None:
        self._field = field

    def syntaxError(self, _: Any, __: Any, line: int, column: int, message: str, ___: Any) -> NoReturn:  # noqa: N802
        raise InvalidInput(f"this is no .proto: line {line}, column {column + 1}: {message[:200]}", field=self._field)


def check_together(told: Iterable[Schema | str]) -> None:
    """Raises InvalidInput for files that are too long together: reading them takes time by their length."""
    if sum(len(text.encode()) for text in told if isinstance(text, str)) > MAX_TOGETHER:
        raise InvalidInput(f"the .proto files of an extension have at most {MAX_TOGETHER} bytes together", field="says")


def schema_of(text: str, fact: str, field: str) -> Schema:
    """The schema of the message that is named like the fact, or of the only one.

    Raises InvalidInput for what is no .proto, has no such message, or needs what other files declare.
    """
    return _File(_parsed(text, field), field).schema(_camel(fact, first=True))


def _parsed(text: str, field: str) -> ast.File:
    if len(text.encode()) > MAX_BYTES:
        raise InvalidInput(f"a .proto has at most {MAX_BYTES} bytes", field=field)
    try:
        return Parser(setup_lexer=_refusing(field), setup_parser=_refusing(field)).parse(text)
    except RecursionError:
        raise InvalidInput("this .proto is too deep", field=field) from None


def _refusing(field: str) -> Any:
    def set_up(of: Any) -> None:
        of.removeErrorListeners()
        of.addErrorListener(_Refusing(field))

    return set_up


class _File:
    """The types of one file by their full names, each a definition of the schema."""

    def __init__(self, file: ast.File, field: str) -> None:
        self._field, self._types = field, dict[str, ast.Message | ast.Enum]()
        self._outer = [element for element in file.file_elements if isinstance(element, ast.Message)]
        packages = [element.name for element in file.file_elements if isinstance(element, ast.Package)]
        self._package = packages[0] if packages else ""
        self._collect("", file.file_elements)

    def schema(self, wanted: str) -> Schema:
        names = [message.name for message in self._outer]
        name = wanted if wanted in names else names[0] if len(names) == 1 else ""
        if not name:
            raise self._refusal(f"it has {len(names)} messages: name one {wanted}, like the fact")
        definitions = {_reference(full): self._type(full) for full in self._types if full != name}
        return self._type(name) | ({"$defs": definitions} if definitions else {})

    def _collect(self, within: str, elements: Iterable[Any]) -> None:
        for element in elements:
            if isinstance(element, ast.Message | ast.Enum):
                full = f"{within}{element.name}"
                if full in self._types:
                    raise self._refusal(f"it declares {full} twice")
                self._types[full] = element
                self._collect(f"{full}.", element.elements)

    def _type(self, full: str) -> Schema:
        found = self._types[full]
        if isinstance(found, ast.Enum):
            values = [element for element in found.elements if isinstance(element, ast.EnumValue)]
            return {"enum": [*(value.name for value in values), *dict.fromkeys(value.number for value in values)]}
        return self._message(full, found)

    def _message(self, full: str, message: ast.Message) -> Schema:
        oneofs = [element for element in message.elements if isinstance(element, ast.OneOf)]
        fields = [*_fields(message), *(each for one in oneofs for each in _fields(one))]
        self._check_unique(full, fields)
        schema: Schema = {"type": "object", "additionalProperties": False, "properties": {}}
        for each in fields:
            schema["properties"] |= dict.fromkeys(_names(each), self._of(full, each))
        rules = [_has(each) for each in fields if _is_required(each)]
        for one in oneofs:
            rules += [{"not": {"allOf": [_has(left), _has(right)]}} for left, right in combinations(_fields(one), 2)]
        return schema | ({"allOf": rules} if rules else {})

    def _check_unique(self, full: str, fields: list[Field]) -> None:
        numbers, names = [each.number for each in fields], [name for each in fields for name in _names(each)]
        if len({*numbers}) < len(numbers) or len({*names}) < len(names):
            raise self._refusal(f"{full} gives a name or a number to two fields")

    def _of(self, full: str, each: Field) -> Schema:
        if isinstance(each, ast.MapField):
            return {"type": "object", "additionalProperties": self._named(full, each.value_type)}
        found = self._named(full, each.type)
        return {"type": "array", "items": found} if each.cardinality == ast.FieldCardinality.REPEATED else found

    def _named(self, full: str, name: str) -> Schema:
        """The type of that name as seen from within a message: the innermost that has it."""
        name = name.removeprefix(".")
        if name in TYPES:
            return TYPES[name]
        name = name.removeprefix(f"{self._package}.") if self._package else name
        scopes = full.split(".")
        for depth in range(len(scopes), -1, -1):
            if (found := ".".join([*scopes[:depth], name])) in self._types:
                return {"$ref": f"#/$defs/{_reference(found)}"}
        raise self._refusal(f"{full} needs {name[:100]}, which this file does not declare")

    def _refusal(self, why: str) -> InvalidInput:
        return InvalidInput(f"this .proto cannot be taken: {why}", field=self._field)


def _fields(of: ast.Message | ast.OneOf) -> list[Field]:
    return [element for element in of.elements if isinstance(element, Field)]


def _is_required(field: Field) -> bool:
    return isinstance(field, ast.Field) and field.cardinality == ast.FieldCardinality.REQUIRED


def _has(field: Field) -> Schema:
    """That an object has it, by whichever of its names."""
    ways: list[Schema] = [{"required": [name]} for name in _names(field)]
    return ways[0] if len(ways) == 1 else {"anyOf": ways}


def _names(field: Field) -> list[str]:
    told = [str(option.value).strip("\"'") for option in field.options if option.name == "json_name"]
    return [*dict.fromkeys((field.name, told[0] if told else _camel(field.name, first=False)))]


def _camel(name: str, *, first: bool) -> str:
    found = re.sub(r"_+([a-zA-Z0-9]?)", lambda match: match[1].upper(), name)
    return found[:1].upper() + found[1:] if first else found


def _reference(full: str) -> str:
    return full.replace(".", "-")
