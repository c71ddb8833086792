"""events: what happened, from the log, or as it happens."""

from collections.abc import Iterator
from itertools import islice
from typing import Annotated

import typer

from aimass import types
from aimass.cli import exits, output
from aimass.cli.session import client_of

ONLY_A_CHAIN = {"type": "", "domain": "", "subject": "", "actor": "", "since": None, "until": None}
COLUMNS: output.Columns = {
    "AT": lambda event: output.moment(event["at"]),
    "EVENT": lambda event: short(event["type"]),
    "ABOUT": lambda event: event["subject"],
    "FROM": lambda event: event["source"],
    "POSITION": lambda event: event["position"],
}


def events(
    context: typer.Context,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Go on until Ctrl-C.")] = False,
    chain: Annotated[str, typer.Option(help="Only what follows from this correlation id, from its beginning.")] = "",
    type: Annotated[str, typer.Option(help="Only of this type, such as VersionPromoted.")] = "",  # noqa: A002
    domain: Annotated[str, typer.Option(help="Only of this domain, such as models.")] = "",
    about: Annotated[str, typer.Option(help="Only about this, such as models/digits-cnn, or models.")] = "",
    actor: Annotated[str, typer.Option(help="Only what this key or user did, by its id.")] = "",
    since: Annotated[str | None, typer.Option(help="From this time on, such as 2030-01-31T12:00:00Z.")] = None,
    until: Annotated[str | None, typer.Option(help="Up to this time.")] = None,
    after: Annotated[int | None, typer.Option(min=0, help="From after this position of the log on.")] = None,
    limit: Annotated[int, typer.Option(min=1, help="At most so many, without -f.")] = 50,
    as_json: output.AsJson = False,
) -> None:
    """Print what happened, newest first or forwards from a place, or a chain, or follow what happens in the project."""
    filters: types.EventFilters = {"correlation_id": chain, "type": type, "domain": domain, "subject": about}
    filters |= {"actor": actor, "since": since, "until": until}
    with client_of(context) as client:
        if follow:
            return _follow(client.follow_events(after=after, **filters), as_json)
        if filters == {**filters, **ONLY_A_CHAIN} and chain and after is None:
            return output.rows(client.timeline(chain), COLUMNS, as_json)
        return output.rows(list(islice(client.events(after=after, **filters), limit)), COLUMNS, as_json)


def _follow(happening: Iterator[types.Event], as_json: bool) -> None:
    try:
        for event in happening:
            _show(event, as_json)
    except KeyboardInterrupt:
        raise typer.Exit(exits.INTERRUPTED) from None


def short(name: str) -> str:
    """An event's name without its package."""
    return name.rpartition(".")[2]


def _show(event: types.Event, as_json: bool) -> None:
    if as_json:
        return output.json_line(event)
    return output.line("  ".join(str(read(event)) for read in COLUMNS.values()))
