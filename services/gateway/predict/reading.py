"""Bodies as people send them, by their content type, as items; nothing of a model is known here. Pure."""

import csv
import io
from collections.abc import Callable, Iterator
from typing import Any, ClassVar, Final

from services.gateway.predict.values import Cell, Item
from shared.errors import AimassError, InvalidInput
from shared.oip import load_json

JSON: Final = "application/json"
TEXT: Final = "text/plain"
CSV: Final = "text/csv"
MOST_ITEMS: Final = 1000


class UnsupportedContent(AimassError):
    """Bodies of this content type are not read."""

    code: ClassVar[str] = "unsupported_content"
    status: ClassVar[int] = 415


def of_json(body: bytes) -> list[Item]:
    """The items of `{"items": [...]}`."""
    try:
        document = load_json(body)
    except InvalidInput as error:
        raise InvalidInput(error.message, field="body") from None
    if type(document) is not dict or type(document.get("items")) is not list:
        raise InvalidInput('the body must be an object such as {"items": [...]}', field="items")
    if (surplus := next((name for name in document if name != "items"), None)) is not None:
        raise InvalidInput(
            f'"{surplus[:64]}" is unknown: the body has nothing but "items"', field=surplus[:64] or "body"
        )
    _check_count(len(document["items"]))
    return [Item(f"items[{number}]", value) for number, value in enumerate(document["items"])]


def _check_count(count: int) -> None:
    """What no model takes at once is not looked at one by one."""
    if count > MOST_ITEMS:
        raise InvalidInput(f"items: there are more than {MOST_ITEMS}: send a file as a batch", field="items")


def of_text(body: bytes) -> list[Item]:
    """The whole body as one text."""
    return [Item("text", _decoded(body))]


def of_csv(body: bytes) -> list[Item]:
    """The rows below the line of names; columns that the model does not take are let be."""
    reader = csv.reader(io.StringIO(_decoded(body), newline=""), strict=True)
    try:
        names = [name.strip() for name in next(reader, [])]
        _check_header(names)
        return list(_rows(reader, names))
    except csv.Error as error:
        raise InvalidInput(f"line {max(1, reader.line_num)}: {error}", field="body") from None


def _rows(reader: Any, names: list[str]) -> Iterator[Item]:
    """Each row with the line that it begins on; blank lines are none."""
    count, line = 0, reader.line_num + 1
    for cells in reader:
        if cells:
            count += 1
            _check_count(count)
            yield Item(f"line {line}", _row(names, cells, line), strict=False)
        line = reader.line_num + 1


def _check_header(names: list[str]) -> None:
    if not any(names):
        raise InvalidInput("line 1 must hold the columns' names, separated by commas", field="body")
    if (twice := next((name for position, name in enumerate(names) if name in names[:position]), None)) is not None:
        raise InvalidInput(f'line 1 names two columns "{twice[:64]}"', field=twice[:64] or "body")


def _row(names: list[str], cells: list[str], line: int) -> dict[str, Any]:
    if len(cells) != len(names):
        hint = "put text that holds a comma or a line's end into double quotes"
        raise InvalidInput(f"line {line} has {len(cells)} values, line 1 names {len(names)}: {hint}", field="body")
    return dict(zip(names, map(Cell, cells), strict=True))


def _decoded(body: bytes) -> str:
    try:
        return body.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise InvalidInput("the body is no text in UTF-8", field="body") from None


READERS: Final[dict[str, Callable[[bytes], list[Item]]]] = {JSON: of_json, TEXT: of_text, CSV: of_csv}


def items(kind: str, body: bytes) -> list[Item]:
    """The items of a body of this type; raises UnsupportedContent, or InvalidInput saying what is wrong where."""
    if kind not in READERS:
        known = ", ".join((*READERS, "image/png, image/jpeg"))
        raise UnsupportedContent(f"bodies of type {kind[:40]!r} are not read: send {known}", field="Content-Type")
    return READERS[kind](body)


def media_type(content_type: str) -> str:
    """The type alone, without parameters; text in another encoding than UTF-8 is not read."""
    kind, _, parameters = content_type.partition(";")
    name, _, value = parameters.strip().partition("=")
    if name.strip().lower() == "charset" and value.strip('" ').lower() not in ("utf-8", "utf8", "us-ascii", ""):
        raise UnsupportedContent(f"text in {value[:40]!r} is not read: send UTF-8")
    return kind.strip().lower()
