"""Schemas that others bring: JSON Schema (draft 2020-12) without what could take long or reach elsewhere; pure.

Every check costs a bounded number of steps, as the cost of a schema with all its references written out is bounded.
"""

import json
import re
from collections.abc import Iterator
from itertools import islice
from typing import Any

from jsonschema import Draft202012Validator  # type: ignore[import-untyped]
from jsonschema.exceptions import SchemaError, best_match  # type: ignore[import-untyped]

from shared.errors import InvalidInput

MAX_BYTES, MAX_DEPTH, MAX_COST = 16 * 1024, 16, 500
MAX_DATA_DEPTH, MAX_VALUES = 32, 1_000
MOST_ERRORS = 20
DIALECT = "https://json-schema.org/draft/2020-12/schema"
_REFERENCE = re.compile(r"#/\$defs/([A-Za-z0-9_-]+)")
_ONE = frozenset({"additionalProperties", "items", "contains", "propertyNames", "not", "if", "then", "else"})
_SEVERAL = frozenset({"allOf", "anyOf", "oneOf", "prefixItems"})
_NAMED = frozenset({"properties", "$defs", "dependentSchemas"})
_TOLD = frozenset({"$schema", "$comment", "title", "description", "default", "examples", "deprecated", "format"})
_OF_ANY = frozenset({"$ref", "type", "enum", "const", "readOnly", "writeOnly"})
_OF_OBJECTS = frozenset({"required", "minProperties", "maxProperties", "dependentRequired"})
_OF_LISTS = frozenset({"minItems", "maxItems", "minContains", "maxContains"})
_OF_TEXT = frozenset({"minLength", "maxLength"})
_OF_NUMBERS = frozenset({"minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "multipleOf"})
TAKEN = _ONE | _SEVERAL | _NAMED | _TOLD | _OF_ANY | _OF_OBJECTS | _OF_LISTS | _OF_TEXT | _OF_NUMBERS


def check_schema(schema: dict[str, Any], field: str) -> None:
    """Raises InvalidInput, naming the field, for a schema that is none or that asks for too much."""
    if len(json.dumps(schema)) > MAX_BYTES:
        raise InvalidInput(f"a schema has at most {MAX_BYTES} bytes", field=field)
    if schema.get("$schema", DIALECT) != DIALECT:
        raise InvalidInput(f"a schema is of the dialect {DIALECT}", field=f"{field}.$schema")
    if schema.get("type") != "object":
        raise InvalidInput("an event is an object: give its schema the type 'object'", field=f"{field}.type")
    _check_keywords(schema, field, 1)
    _Costs(schema, field).check()
    try:
        Draft202012Validator.check_schema(schema)
    except SchemaError as error:
        where = ".".join([field, *map(str, error.absolute_path)])
        raise InvalidInput(f"this is no JSON Schema: {error.message[:300]}", field=where) from None


def _check_keywords(schema: Any, field: str, depth: int) -> None:
    if isinstance(schema, bool):
        return
    if not isinstance(schema, dict):
        raise InvalidInput("a schema is an object, true or false", field=field)
    if depth > MAX_DEPTH:
        raise InvalidInput(f"a schema is at most {MAX_DEPTH} deep", field=field)
    for keyword in schema:
        if keyword not in TAKEN:
            message = f"the keyword {keyword[:64]!r} is not taken here: docs/extensions.md says which are"
            raise InvalidInput(message, field=field)
    for where, below in _below(schema):
        _check_keywords(below, f"{field}.{where}", depth + 1)


def _below(schema: dict[str, Any]) -> Iterator[tuple[str, Any]]:
    """The schemas within a schema, of whatever shape; what has the wrong shape is found by the validator."""
    for keyword, value in schema.items():
        if keyword in _ONE:
            yield keyword, value
        elif keyword in _SEVERAL and isinstance(value, list):
            yield from ((f"{keyword}.{number}", each) for number, each in enumerate(value))
        elif keyword in _NAMED and isinstance(value, dict):
            yield from ((f"{keyword}.{name}", each) for name, each in value.items())


class _Costs:
    """How many schemas one schema is when its references are written out."""

    def __init__(self, root: dict[str, Any], field: str) -> None:
        self._root, self._field = root, field
        self._known: dict[str, int | None] = {}

    def check(self) -> None:
        if self._cost(self._root) > MAX_COST:
            raise InvalidInput(f"with its references written out it has over {MAX_COST} parts", field=self._field)

    def _cost(self, schema: Any) -> int:
        if not isinstance(schema, dict):
            return 1
        below = sum(self._cost(each) for _, each in _below(schema))
        referred = self._cost_of_reference(schema["$ref"]) if "$ref" in schema else 0
        listed = sum(len(value) for value in schema.values() if isinstance(value, list | dict))
        return min(1 + len(schema) + listed + below + referred, MAX_COST + 1)

    def _cost_of_reference(self, reference: Any) -> int:
        found = _REFERENCE.fullmatch(reference) if isinstance(reference, str) else None
        name, definitions = found[1] if found else "", self._root.get("$defs")
        if not isinstance(definitions, dict) or name not in definitions:
            message = f"$ref {str(reference)[:100]!r} leads elsewhere: only '#/$defs/NAME' of this schema counts"
            raise InvalidInput(message, field=self._field)
        if name in self._known:
            cost = self._known[name]
            if cost is None:
                raise InvalidInput(f"$ref {reference!r} leads into itself", field=self._field)
            return cost
        self._known[name] = None
        self._known[name] = cost = self._cost(definitions[name])
        return cost


def read_object(body: bytes) -> dict[str, Any]:
    """The JSON object of an event; raises InvalidInput for anything else."""
    try:
        found = json.loads(body, parse_constant=_refuse_constant, object_pairs_hook=_unique)
    except (ValueError, RecursionError) as error:
        raise InvalidInput(f"the body is no JSON: {str(error)[:200]}", field="data") from None
    if not isinstance(found, dict):
        raise InvalidInput("an event is a JSON object", field="data")
    _check_shape(found)
    return found


def check_data(schema: dict[str, Any], data: dict[str, Any]) -> None:
    """Raises InvalidInput that names the field which does not fit."""
    error = best_match(islice(Draft202012Validator(schema).iter_errors(data), MOST_ERRORS))
    if error is not None:
        where = ".".join(["data", *map(str, error.absolute_path)])
        raise InvalidInput(f"{where}: {error.message[:300]}", field=where)


def _refuse_constant(name: str) -> float:
    raise ValueError(f"{name} is no JSON")


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a name occurs twice in an object")
    return found


def _check_shape(value: Any) -> None:
    """Level by level, as a value that is too deep must not fail in here."""
    depth, values, level = 0, 0, [value]
    while level:
        depth, values = depth + 1, values + len(level)
        if depth > MAX_DATA_DEPTH or values > MAX_VALUES:
            raise InvalidInput(f"an event is at most {MAX_DATA_DEPTH} deep and of {MAX_VALUES} values", field="data")
        level = [below for each in level for below in _parts(each)]


def _parts(value: Any) -> list[Any]:
    if isinstance(value, dict):
        return list(value.values())
    return value if isinstance(value, list) else []
