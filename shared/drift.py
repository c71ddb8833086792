"""How a stream or a consumer of the bus differs from its declaration, in words; pure."""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Any

from nats.js.api import ConsumerConfig, StreamConfig

DAY, HOUR, MINUTE = 86400.0, 3600.0, 60.0
MIB = 1024 * 1024
NOTHING = "nothing"
# What is compared, and what the bus makes of it where a declaration says nothing.
STREAM_FIELDS: Mapping[str, Any] = {
    "subjects": (),
    "retention": "limits",
    "storage": "file",
    "max_age": 0,
    "max_bytes": -1,
    "max_msgs": -1,
    "max_msgs_per_subject": -1,
    "max_msg_size": -1,
    "max_consumers": -1,
    "discard": "old",
    "discard_new_per_subject": False,
    "duplicate_window": 0,
    "num_replicas": 1,
    "no_ack": False,
    "sealed": False,
    "deny_delete": False,
    "deny_purge": False,
    "allow_rollup_hdrs": False,
    "allow_direct": False,
    "allow_atomic": False,
    "mirror": None,
    "sources": None,
    "republish": None,
    "subject_transform": None,
}
CONSUMER_FIELDS: Mapping[str, Any] = {
    "filter_subjects": (),
    "ack_policy": "explicit",
    "ack_wait": 30,
    "max_deliver": -1,
    "max_ack_pending": 1000,
    "backoff": None,
    "deliver_policy": "all",
    "opt_start_seq": 0,
    "opt_start_time": None,
    "replay_policy": "instant",
    "deliver_subject": None,
    "headers_only": False,
    "inactive_threshold": 0,
    "rate_limit_bps": 0,
}
LENGTHS = frozenset({"max_age", "duplicate_window", "ack_wait", "inactive_threshold"})


@dataclass(frozen=True)
class Difference:
    """One field that is not as declared."""

    name: str
    found: Any
    wanted: Any

    def __str__(self) -> str:
        return f"{self.name} is {words(self.name, self.found)}, expected {words(self.name, self.wanted)}"


def stream_differences(found: StreamConfig, wanted: StreamConfig) -> list[Difference]:
    return _differences(STREAM_FIELDS, found, wanted)


def consumer_differences(found: ConsumerConfig, wanted: ConsumerConfig) -> list[Difference]:
    return _differences(CONSUMER_FIELDS, found, wanted)


def words(name: str, value: Any) -> str:
    """A value as people say it: seconds as days or minutes, bytes as MiB, no limit as such."""
    if isinstance(value, tuple):
        return ", ".join(map(str, value)) or NOTHING
    if name in LENGTHS:
        return _length(value)
    if name.startswith("max_") and value == -1:
        return "without limit"
    if name == "max_bytes":
        return f"{value / MIB:g} MiB"
    return NOTHING if value is None else str(value)


def _length(seconds: float) -> str:
    if not seconds:
        return "without limit"
    unit, name = next(
        ((size, name) for size, name in ((DAY, "d"), (HOUR, "h"), (MINUTE, "min")) if seconds % size == 0), (1, "s")
    )
    return f"{seconds / unit:g} {name}"


def _differences(fields: Mapping[str, Any], found: Any, wanted: Any) -> list[Difference]:
    pairs = (
        (name, value_of(found, name, default), value_of(wanted, name, default)) for name, default in fields.items()
    )
    return [Difference(*each) for each in pairs if each[1] != each[2]]


def value_of(config: Any, name: str, default: Any) -> Any:
    """The value as the bus takes it: defaults filled in, one filter or many alike, lists without an order."""
    value = getattr(config, name)
    if name == "filter_subjects" and not value and config.filter_subject:
        value = [config.filter_subject]
    if isinstance(value, Enum):
        value = value.value
    if isinstance(value, list):
        value = tuple(sorted(map(str, value)))
    if isinstance(default, bool):
        return bool(value)
    unlimited = default == -1 and value in (0, None)
    return default if value in (None, ()) or unlimited else value
