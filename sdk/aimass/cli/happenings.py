"""events: what happens, as it happens, or one chain so far."""

from typing import Annotated

import typer

from aimass import types
from aimass.cli import exits, output
from aimass.cli.session import client_of

COLUMNS: output.Columns = {
    "AT": lambda event: output.moment(event["at"]),
    "EVENT": lambda event: short(event["type"]),
    "ABOUT": lambda event: event["subject"],
    "FROM": lambda event: event["source"],
}


def events(
    context: typer.Context,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Go on until Ctrl-C.")] = False,
    chain: Annotated[str, typer.Option(help="Only what follows from this correlation id, from its beginning.")] = "",
    type: Annotated[str, typer.Option(help="Only of this type, such as VersionPromoted.")] = "",  # noqa: A002
    about: Annotated[str, typer.Option(help="Only about this, such as model/digits-cnn, or model.")] = "",
    since: Annotated[
        str | None, typer.Option(help="With -f: begin at this time, such as 2030-01-31T12:00:00Z.")
    ] = None,
    as_json: output.AsJson = False,
) -> None:
    """Print the events of a chain, or follow what happens in the project."""
    if not follow and not chain:
        raise typer.BadParameter(
            "follow events with -f, or name a --chain ('aimass tasks ID' shows its correlation_id)"
        )
    with client_of(context) as client:
        if not follow:
            return output.rows(client.timeline(chain), COLUMNS, as_json)
        try:
            for event in client.follow_events(correlation_id=chain, type=type, subject=about, since=since):
                _show(event, as_json)
        except KeyboardInterrupt:
            raise typer.Exit(exits.INTERRUPTED) from None
    return None


def short(name: str) -> str:
    """An event's name without its package."""
    return name.rpartition(".")[2]


def _show(event: types.Event, as_json: bool) -> None:
    if as_json:
        return output.json_line(event)
    return output.line("  ".join(str(read(event)) for read in COLUMNS.values()))
