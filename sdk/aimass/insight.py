"""Data sets, predictions, events, and the host."""

from pathlib import Path
from typing import Any, TypedDict, Unpack, cast
from urllib.parse import quote

from aimass import types as t
from aimass.calls import Call, Item, Items, bring, get
from aimass.methods import method, stream
from aimass.streams import follow

PAGE = 200


class Gpu(TypedDict):
    """One GPU; what its driver does not tell is None."""

    number: int
    name: str
    utilization_percent: float | None
    memory_used: int | None
    memory_total: int | None
    temperature_celsius: float | None


class HostMetrics(TypedDict):
    """The host's load."""

    cpu_percent: float
    cpu_count: int
    memory_total: int
    memory_used: int
    load_1m: float
    load_5m: float
    load_15m: float
    disk_total: int
    disk_used: int
    disk_read_per_second: float
    disk_written_per_second: float
    network_received_per_second: float
    network_sent_per_second: float
    gpus: list[Gpu]
    at: str


class TraceNode(TypedDict):
    """What happened or was; it hangs from `parent`, `depth` below the top, and stands for `count` of its kind."""

    id: str
    parent: str
    depth: int
    kind: str
    name: str
    about: str
    at: str
    until: str | None
    state: str
    count: int
    caused: int
    position: int
    asked: bool
    facts: dict[str, Any]


class Trace(TypedDict):
    """The tree of cause and effect around an id, depth first; truncated where the newest events are left out."""

    id: str
    nodes: list[TraceNode]
    truncated: bool


class Insight:
    """What a client can see of data and of what happens."""

    @method
    def datasets(self, name: str | None = None) -> Call[list[t.Dataset]]:
        """Data sets, newest first, without profile and preview."""
        return get("datasets", {"name": name}, take="datasets")

    @method
    def dataset(self, name: str, digest: str | None = None) -> Call[t.Dataset]:
        """A data set, the newest or that of a digest; `facts` has its profile and a preview."""
        return get(f"datasets/{name}", {"digest": digest})

    @method
    def bring_dataset(
        self,
        name: str,
        file: Path,
        *,
        like: str,
        format: str | None = None,  # noqa: A002
        key: str = "",
    ) -> Call[t.Accepted]:
        """Bring a file of rows as a data set that has the columns and labels of one of the library's."""
        return bring(f"datasets/{name}", file, {"like": like, "format": format}, key)

    @method
    def predictions(
        self,
        model: str | None = None,
        *,
        prediction_id: str | None = None,
        evaluation: bool = False,
        limit: int = 100,
    ) -> Call[list[t.Prediction]]:
        """Answered predictions, newest first; those of evaluations only on request."""
        filters = {"model": model, "prediction_id": prediction_id, "evaluation": evaluation, "limit": limit}
        return get("predictions", filters, take="predictions")

    @method
    def timeline(self, correlation_id: str) -> Call[list[t.Event]]:
        """The events of one chain so far, in order."""
        return get("events", {"correlation_id": correlation_id, "follow": False}, take="events")

    @method
    def trace(self, id: str) -> Call[Trace]:  # noqa: A002
        """What led to something and what came of it, as a tree: each node after the one that it hangs from.

        The id is that of an event, task, pipeline, evaluation, prediction or chain, or a version as digits-cnn/3.
        """
        return get(f"trace/{quote(id)}")

    @stream
    def events(self, *, after: int | None = None, **filters: Unpack[t.EventFilters]) -> Items[t.Event]:
        """The log, page by page as it is read: newest first, or forwards after a position or since a time."""
        return _pages({"follow": False, "limit": PAGE, **filters}, after)

    @stream
    def follow_events(self, *, after: int | None = None, **filters: Unpack[t.EventFilters]) -> Items[t.Event]:
        """Events as they happen until the caller stops; with a correlation id from the beginning of its chain, or
        after a position, or since a time (RFC 3339).
        """
        return follow("events", {**filters, "after": after}, _event)

    @method
    def host(self) -> Call[HostMetrics]:
        """CPU and memory of the host now."""
        return get("metrics/host")


def _pages(wanted: dict[str, Any], after: int | None) -> Items[t.Event]:
    forwards = after is not None or wanted.get("since") is not None
    place, position = "after" if forwards else "before", after
    while True:
        page = yield from get("events", wanted | {place: position})
        for event in page["events"]:
            yield Item(_event(event))
        if (position := page["next"]) is None:
            return


def _event(document: dict[str, Any]) -> t.Event:
    return cast(t.Event, document)
