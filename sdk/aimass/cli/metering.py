"""usage, invoice and quota: what was used, what it costs, and what may be used."""

from typing import Annotated

import typer

from aimass.cli import output
from aimass.cli.session import client_of
from aimass.usage import Limit

Project = Annotated[str | None, typer.Option(help="Another project, for administrators of the platform.")]
FIGURES: output.Columns = {
    "REQUESTS": lambda row: row["requests"],
    "ERRORS": lambda row: row["errors"],
    "SECONDS": lambda row: row["compute_seconds"],
    "BYTES IN": lambda row: row["input_bytes"],
    "BYTES OUT": lambda row: row["output_bytes"],
    "BYTE HOURS": lambda row: row["byte_hours"],
}
GROUPS: output.Columns = {
    "project": lambda row: row["project"],
    "identity": lambda row: row["identity"],
    "model": lambda row: row["model"],
    "day": lambda row: row["day"],
    "kind": lambda row: row["kind"],
}
LINES: output.Columns = {
    "UNIT": lambda line: line["unit"],
    "QUANTITY": lambda line: line["quantity"],
    "PRICE": lambda line: line["price"],
    "AMOUNT": lambda line: line["amount"],
    "FROM": lambda line: line["since"],
    "TO": lambda line: line["until"],
}
QUOTAS: output.Columns = {
    "QUOTA": lambda quota: quota["quota"],
    "USED": lambda quota: quota["used"],
    "SOFT": lambda quota: quota["soft"],
    "HARD": lambda quota: quota["hard"],
    "STANDS": lambda quota: quota["level"],
    "RENEWS": lambda quota: quota["renews_on"],
}

quota = typer.Typer(name="quota", no_args_is_help=True, help="Quotas: what a project may use.")


def usage(
    context: typer.Context,
    since: Annotated[str | None, typer.Option("--from", help="First day, such as 2030-01-01.")] = None,
    until: Annotated[str | None, typer.Option("--to", help="Last day.")] = None,
    by: Annotated[str, typer.Option(help="Of project, identity, model, day, kind.")] = "day,kind,model",
    project: Project = None,
    as_json: output.AsJson = False,
) -> None:
    """Show what was used, of this month where no days are named."""
    group = [name.strip() for name in by.split(",")]
    if unknown := [name for name in group if name not in GROUPS]:
        raise typer.BadParameter(f"{unknown[0]!r} is none of {', '.join(GROUPS)}", param_hint="--by")
    with client_of(context) as client:
        found = client.usage(since=since, until=until, group=group, project=project)
    output.rows(found, {name.upper(): GROUPS[name] for name in group} | dict(FIGURES), as_json)


def invoice(
    context: typer.Context,
    month: Annotated[str | None, typer.Argument(metavar="MONTH", help="Such as 2030-01; without one, this.")] = None,
    project: Project = None,
    as_json: output.AsJson = False,
) -> None:
    """Preview what a month costs."""
    with client_of(context) as client:
        found = client.invoice(month, project=project)
    if as_json:
        return output.document(found)
    output.rows(found["lines"], LINES, as_json)
    return output.line(f"{found['project']}, {found['month']}: {found['total']} {found['currency']}".strip())


@quota.command("list")
def list_quotas(context: typer.Context, project: Project = None, as_json: output.AsJson = False) -> None:
    """Show what the project may use, and has used."""
    with client_of(context) as client:
        output.rows(client.quotas(project=project), QUOTAS, as_json)


@quota.command("set")
def set_quotas(
    context: typer.Context,
    project: Annotated[str, typer.Argument(metavar="PROJECT", help="Whose quotas these are.")],
    limits: Annotated[
        list[str] | None, typer.Argument(metavar="QUOTA=HARD", help="Or QUOTA=SOFT:HARD; none lifts all limits.")
    ] = None,
    as_json: output.AsJson = False,
) -> None:
    """Let a project use this much from now on; what is not named is not limited."""
    with client_of(context) as client:
        output.rows(client.set_quotas(project, [_limit(each) for each in limits or ()]), QUOTAS, as_json)


def _limit(given: str) -> Limit:
    name, _, numbers = given.partition("=")
    soft, colon, hard = numbers.partition(":")
    try:
        if not colon:
            return {"quota": name, "hard": int(soft)}
        return {"quota": name, "soft": int(soft) if soft else None, "hard": int(hard) if hard else None}
    except ValueError:
        raise typer.BadParameter(f"{given!r} is not QUOTA=HARD or QUOTA=SOFT:HARD") from None
