"""What a run is, and what MLflow's filters and orders mean; pure."""

import json
import re
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Literal, NamedTuple, TypeVar

from pydantic import BaseModel

from shared.errors import InvalidInput, NotFound
from shared.events.common import TaskState
from shared.rpc.runs import Measured, RunCancelled, Search

KIND = "run"
DEFAULT_EXPERIMENT = 0
TEXTS_MOST = 2000
PAGE_BYTES, HISTORY_CHARACTERS = 600_000, 60_000
Item = TypeVar("Item", bound=BaseModel)
ENDS = {"FINISHED": TaskState.SUCCEEDED, "FAILED": TaskState.FAILED, "KILLED": TaskState.CANCELLED}
Field = Literal["attribute", "metric", "param", "tag"]
_PREFIXES: dict[str, Field] = {
    **dict.fromkeys(("attribute", "attributes", "attr", "run"), "attribute"),
    **dict.fromkeys(("metric", "metrics"), "metric"),
    **dict.fromkeys(("param", "params", "parameter", "parameters"), "param"),
    **dict.fromkeys(("tag", "tags"), "tag"),
}
_KEY = r"(?:(?P<prefix>\w+)\s*\.\s*)?(?P<key>`[^`]+`|\"[^\"]+\"|[\w./-]+)"
_STRING = r"'(?:[^'\\]|\\.)*'|\"(?:[^\"\\]|\\.)*\""
_CONDITION = re.compile(
    rf"\s*{_KEY}\s*(?P<op>!=|>=|<=|=|>|<|\bNOT\s+IN\b|\bIN\b|\bILIKE\b|\bLIKE\b|\bIS\s+NOT\s+NULL\b|\bIS\s+NULL\b)\s*"
    rf"(?P<value>{_STRING}|[-+]?[\w.]+(?:[-+]\d+)?|\((?:[^()'\"]|{_STRING})*\))?\s*(?P<next>\bAND\b|$)",
    re.IGNORECASE,
)
_ORDER = re.compile(rf"\s*{_KEY}(?:\s+(?P<way>ASC|DESC))?\s*", re.IGNORECASE)
_PATH = re.compile(r"(\d{1,19})/(?:models/(m-[0-9a-f]{32})|(run-[0-9a-f-]{36}))/artifacts(?:/.+)?")


class Condition(NamedTuple):
    """One part of a filter: a field, how it is compared, and with what."""

    field: Field
    key: str
    op: str
    value: Any


class Order(NamedTuple):
    """One part of an order."""

    field: Field
    key: str
    falls: bool


def conditions(text: str) -> list[Condition]:
    """The parts of a filter, which MLflow joins by AND alone; raises InvalidInput."""
    return list(_conditions(text)) if text.strip() else []


def _conditions(text: str) -> Iterator[Condition]:
    position, more = 0, True
    while more:
        found = _CONDITION.match(text, position)
        if found is None:
            raise InvalidInput(f"filter: not understood from {text[position:][:80]!r} on", field="filter")
        yield _condition(found)
        position, more = found.end(), bool(found["next"])


def _condition(found: "re.Match[str]") -> Condition:
    field, key = _named(found)
    op, value = " ".join(found["op"].upper().split()), found["value"]
    if op.endswith("NULL") != (value is None):
        raise InvalidInput(f"filter: {key} {op} lacks a value, or has one too many", field="filter")
    if op in ("IN", "NOT IN"):
        return Condition(field, key, op, [_text(part) for part in re.findall(_STRING, value)])
    return Condition(field, key, op, None if value is None else _value(field, key, value))


def _value(field: Field, key: str, value: str) -> str | float:
    if field in ("param", "tag") or value[0] in "'\"":
        if value[0] not in "'\"":
            raise InvalidInput(f"filter: the value of {key} is a text: put it in quotes", field="filter")
        return _text(value)
    try:
        return float(value)
    except ValueError:
        raise InvalidInput(f"filter: {value!r} is no number, and no text in quotes", field="filter") from None


def _text(quoted: str) -> str:
    return re.sub(r"\\(.)", r"\1", quoted[1:-1])


def _named(found: "re.Match[str]") -> tuple[Field, str]:
    prefix = (found["prefix"] or "attribute").lower()
    if prefix not in _PREFIXES:
        raise InvalidInput(f"filter: {prefix!r} is none of attributes, metrics, params, tags", field="filter")
    return _PREFIXES[prefix], found["key"].strip('`"')


def orders(texts: Iterable[str]) -> list[Order]:
    """Raises InvalidInput for what is no order."""
    found = [(_ORDER.fullmatch(text), text) for text in texts]
    for match, text in found:
        if match is None:
            raise InvalidInput(f"order_by: {text[:80]!r} is not understood", field="order_by")
    return [Order(*_named(match), (match["way"] or "ASC").upper() == "DESC") for match, _ in found if match]


def experiment_number(text: str) -> int:
    """Raises NotFound for what is no number of an experiment."""
    if not re.fullmatch(r"\d{1,18}", text):
        raise NotFound(f"there is no experiment {text[:80]!r}", field="experiment_id")
    return int(text)


def owner_of_path(path: str) -> tuple[str, str]:
    """The run or the model that a file belongs to, and the clean path; raises InvalidInput for any other path."""
    found = _PATH.fullmatch(path)
    if found is None or {"", ".", ".."} & set(path.split("/")) or "\\" in path or not path.isprintable():
        raise InvalidInput("path: files lie below <experiment>/<run>/artifacts", field="path")
    return found[2] or found[3], path


def latest(known: dict[str, Any], said: Iterable[Measured]) -> dict[str, Any]:
    """The last value of each scalar: of the highest step, and there of the highest time."""
    last = dict(known)
    for metric in said:
        before = last.get(metric.name)
        if before is None or (metric.step, metric.at) >= (before["step"], before["at"]):
            last[metric.name] = {"value": metric.value, "step": metric.step, "at": metric.at}
    return last


def with_texts(known: dict[str, str], said: dict[str, str], dropped: Iterable[str] = ()) -> dict[str, str]:
    """Raises InvalidInput for too many."""
    texts = {name: value for name, value in (known | said).items() if name not in set(dropped)}
    check_number(len(texts))
    return texts


def with_description(known: str, said: str) -> str:
    """A list of JSON with one more entry; the oldest go where it grows too long. Raises InvalidInput."""
    try:
        entries = [*json.loads(known), json.loads(said)]
    except ValueError:
        raise InvalidInput("model_json: this is no JSON", field="model_json") from None
    while len(entries) > 1 and len(json.dumps(entries)) > HISTORY_CHARACTERS:
        del entries[0]
    return json.dumps(entries)


def check_number(number: int) -> None:
    """Raises InvalidInput for too many tags, parameters, inputs or outputs."""
    if number > TEXTS_MOST:
        raise InvalidInput(f"there can be at most {TEXTS_MOST} of these", field="key")


def with_parameters(known: dict[str, str], said: dict[str, str]) -> dict[str, str]:
    """A parameter that is said again is the same; raises InvalidInput."""
    for name, value in said.items():
        if known.get(name, value) != value:
            raise InvalidInput(f"parameter {name!r} was said to be {known[name][:200]!r} before", field="key")
    return with_texts(known, said)


def page(found: Sequence[Item], search: Search) -> tuple[list[Item], int | None]:
    """What fits into one answer over the bus, and where the next page begins, if there is one."""
    shown: list[Item] = []
    size = 0
    for item in found[: search.limit]:
        size += len(item.model_dump_json())
        if shown and size > PAGE_BYTES:
            break
        shown.append(item)
    return shown, search.offset + len(shown) if len(found) > len(shown) else None


def check_open(state: TaskState) -> None:
    """Raises RunCancelled where the run was cancelled, so that its client hears of it."""
    if state is TaskState.CANCELLED:
        raise RunCancelled()
