"""schedule, schedules, unschedule: trainings that begin by the clock or when something happens."""

from typing import Annotated

import typer

from aimass.cli import output
from aimass.cli.session import client_of
from aimass.cli.training import Model, Settings, config_of

Name = Annotated[str, typer.Argument(metavar="NAME", help="The schedule's name.")]
SCHEDULES: output.Columns = {
    "NAME": lambda found: found["name"],
    "MODEL": lambda found: found["task"]["model"],
    "WHEN": lambda found: found["cron"] or (found["on"] or {}).get("event"),
    "ON": lambda found: found["enabled"],
    "NEXT": lambda found: output.moment(found["next_at"]),
    "LAST TASK": lambda found: found["last_task"],
    "LAST ERROR": lambda found: found["last_error"],
}


def schedule(
    context: typer.Context,
    name: Name,
    model: Model,
    cron: Annotated[
        str | None, typer.Option(metavar="CRON", help="Five fields in UTC, such as '30 3 * * MON'.")
    ] = None,
    event: Annotated[str | None, typer.Option("--on", metavar="EVENT", help="Such as dataset_registered.")] = None,
    where: Annotated[list[str], typer.Option("--where", metavar="KEY=VALUE", help="What the event must say.")] = [],  # noqa: B006
    settings: Settings = [],  # noqa: B006
    dataset: Annotated[str | None, typer.Option(help="Train on this data set instead of the member's own.")] = None,
    promote: Annotated[bool, typer.Option(help="Promote versions by themselves if they pass.")] = True,
    overlap: Annotated[bool, typer.Option(help="Begin also while the task of the last turn goes on.")] = False,
    enabled: Annotated[bool, typer.Option("--enabled/--disabled", help="Whether it takes its turns.")] = True,
    as_json: output.AsJson = False,
) -> None:
    """Let a training begin again and again, by the clock or on an event; one of this name is replaced."""
    if bool(cron) == bool(event):
        raise typer.BadParameter("give either --cron or --on", param_hint="--cron")
    config, fields = config_of(settings), config_of(where, "--where")
    with client_of(context) as client:
        found = client.put_schedule(
            name,
            model,
            config,
            cron=cron,
            event=event,
            where=fields,
            dataset=dataset,
            auto_promote=promote,
            overlap=overlap,
            enabled=enabled,
        )
    output.facts(found, as_json)


def schedules(
    context: typer.Context,
    name: Annotated[str, typer.Argument(metavar="NAME", help="Show this one alone.")] = "",
    as_json: output.AsJson = False,
) -> None:
    """List schedules, or show one."""
    with client_of(context) as client:
        if name:
            return output.facts(client.schedule(name), as_json)
        return output.rows(client.schedules(), SCHEDULES, as_json)


def unschedule(context: typer.Context, name: Name, as_json: output.AsJson = False) -> None:
    """Forget a schedule; what it began goes on."""
    with client_of(context) as client:
        client.delete_schedule(name)
    if as_json:
        return output.document({"name": name, "forgotten": True})
    return output.line(f"schedule '{name}' is forgotten")
