"""letters and audit: what services gave up on, and who decided what."""

from typing import Annotated

import typer

from aimass.cli import exits, output
from aimass.cli.session import client_of

LetterId = Annotated[str, typer.Argument(metavar="LETTER", help="The letter's id, such as registry-EVT-17.")]
Limit = Annotated[int, typer.Option(min=1, max=1000, help="At most so many.")]
Type = Annotated[str | None, typer.Option(help="Only events of this type, such as VersionPromoted.")]
LETTERS: output.Columns = {
    "LETTER": lambda letter: letter["id"],
    "STATE": lambda letter: letter["state"],
    "EVENT": lambda letter: letter["type"].rpartition(".")[2],
    "ERROR": lambda letter: f"{letter['error_class']}: {letter['error']}",
    "TRIED": lambda letter: letter["deliveries"],
    "AT": lambda letter: output.moment(letter["at"]),
    "DECIDED BY": lambda letter: letter["decided_by"],
    "REASON": lambda letter: letter["reason"],
}
ENTRIES: output.Columns = {
    "POSITION": lambda entry: entry["position"],
    "AT": lambda entry: output.moment(entry["at"]),
    "WHAT": lambda entry: entry["type"].rpartition(".")[2],
    "OF": lambda entry: entry["subject"],
    "WHO": lambda entry: entry["actor"],
    "WHY": lambda entry: entry["reason"],
}

letters = typer.Typer(name="letters", no_args_is_help=True, help="Dead letters: what services gave up on.")
audit = typer.Typer(
    name="audit", no_args_is_help=True, help="The audit: who decided what, and whether that still stands."
)


@letters.command("list")
def list_letters(
    context: typer.Context,
    service: Annotated[str | None, typer.Option(help="Only what this service gave up on.")] = None,
    state: Annotated[str | None, typer.Option(help="Only in this state: waiting, replayed or discarded.")] = None,
    type: Type = None,  # noqa: A002
    limit: Limit = 100,
    as_json: output.AsJson = False,
) -> None:
    """List dead letters, newest first."""
    with client_of(context) as client:
        output.rows(client.dead_letters(service=service, state=state, event=type, limit=limit), LETTERS, as_json)


@letters.command("show")
def show_letter(context: typer.Context, letter: LetterId, as_json: output.AsJson = False) -> None:
    """Show a letter whole: payload, headers, error, and where it was raised."""
    with client_of(context) as client:
        output.facts(client.dead_letter(letter), as_json)


@letters.command()
def replay(
    context: typer.Context,
    letter: Annotated[str | None, typer.Argument(metavar="LETTER", help="One letter, or --service for all.")] = None,
    service: Annotated[str | None, typer.Option(help="All letters of this service that wait.")] = None,
    type: Type = None,  # noqa: A002
    as_json: output.AsJson = False,
) -> None:
    """Have the service that gave up try once more, and nobody else."""
    if (letter is None) == (service is None):
        raise typer.BadParameter("name one letter, or a service whose letters wait", param_hint="LETTER")
    with client_of(context) as client:
        if letter is not None:
            return output.rows([client.replay_dead_letter(letter)], LETTERS, as_json)
        ids = client.replay_dead_letters(str(service), event=type or "")
        return output.document(ids) if as_json else output.line("\n".join(ids) or "none waited")


@letters.command()
def discard(
    context: typer.Context,
    letter: LetterId,
    reason: Annotated[str, typer.Option(help="Why nobody shall handle it.")],
    as_json: output.AsJson = False,
) -> None:
    """Decide that nobody will handle a letter, and say why."""
    with client_of(context) as client:
        output.rows([client.discard_dead_letter(letter, reason)], LETTERS, as_json)


@audit.command("list")
def list_entries(
    context: typer.Context,
    actor: Annotated[str | None, typer.Option(help="Only decisions of this key or user.")] = None,
    type: Type = None,  # noqa: A002
    subject: Annotated[str | None, typer.Option(help="Only about this, such as models/digits-cnn.")] = None,
    before: Annotated[int | None, typer.Option(min=1, help="Only entries before this position.")] = None,
    limit: Limit = 100,
    as_json: output.AsJson = False,
) -> None:
    """List decisions, newest first."""
    with client_of(context) as client:
        found = client.audit(actor=actor, event=type, subject=subject, before=before, limit=limit)
        output.rows(found, ENTRIES, as_json)


@audit.command()
def verify(context: typer.Context, as_json: output.AsJson = False) -> None:
    """Go along the whole audit, and name the first entry that is not as it was written; code 1 where there is one."""
    with client_of(context) as client:
        found = client.verify_audit()
    if as_json:
        output.document(found)
    if not found["intact"]:
        exits.leave(exits.TASK_FAILED, f"the audit is broken at position {found['position']}: {found['problem']}")
    if not as_json:
        output.line(f"intact: {found['entries']} entries, {found['published']} of them published on the bus")
