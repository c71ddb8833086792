"""extensions: software of others on the bus."""

import json
from pathlib import Path
from typing import Annotated, Any

import typer

from aimass.cli import output
from aimass.cli.session import client_of

Name = Annotated[str, typer.Argument(metavar="NAME", help="The extension's name.")]
Hears = Annotated[
    list[str] | None,
    typer.Option(help="An event that it hears, such as VersionPromoted, or a subject, such as models.>; repeat it."),
]
Says = Annotated[
    list[str] | None,
    typer.Option(metavar="FACT=FILE", help="A fact that it says, and its file, JSON Schema or .proto; repeat it."),
]
EXTENSIONS: output.Columns = {
    "NAME": lambda found: found["name"],
    "HEARS": lambda found: ", ".join(found["hears"]),
    "SAYS": lambda found: ", ".join(found["says"]),
    "WAITING": lambda found: (found["lag"] or {}).get("waiting"),
    "UNANSWERED": lambda found: (found["lag"] or {}).get("unanswered"),
    "DISABLED": lambda found: output.moment(found["disabled_at"]),
}

app = typer.Typer(name="extensions", no_args_is_help=True, help="Extensions: software of others on the bus.")


@app.command("list")
def list_extensions(context: typer.Context, as_json: output.AsJson = False) -> None:
    """List extensions, and how far each is behind."""
    with client_of(context) as client:
        output.rows(client.extensions(), EXTENSIONS, as_json)


@app.command("show")
def show_extension(context: typer.Context, name: Name, as_json: output.AsJson = False) -> None:
    """Show an extension whole, with its schemas and limits."""
    with client_of(context) as client:
        output.facts(client.extension(name), as_json)


@app.command()
def register(
    context: typer.Context,
    name: Name,
    hears: Hears = None,
    says: Says = None,
    start: Annotated[str, typer.Option(help="Where its history begins: all, now, or a time with its zone.")] = "now",
) -> None:
    """Let it onto the bus, and print its credentials as JSON, this once: keep them in a file."""
    with client_of(context) as client:
        made = client.register_extension(name, hears=hears or (), says=_schemas(says), start=start)
        output.document(made["credentials"])


@app.command()
def change(context: typer.Context, name: Name, hears: Hears = None, says: Says = None) -> None:
    """Have it hear or say these instead; what is not named stays."""
    with client_of(context) as client:
        changed = client.change_extension(name, hears=hears or None, says=_schemas(says) or None)
        output.rows([changed], EXTENSIONS, False)


@app.command()
def rotate(context: typer.Context, name: Name) -> None:
    """Make another password, and print the credentials as JSON; the old one counts no more."""
    with client_of(context) as client:
        output.document(client.rotate_extension(name)["credentials"])


@app.command()
def disable(context: typer.Context, name: Name) -> None:
    """Shut it out at once; its place in the history stays."""
    with client_of(context) as client:
        output.rows([client.change_extension(name, disabled=True)], EXTENSIONS, False)


@app.command()
def enable(context: typer.Context, name: Name) -> None:
    """Let it in again, where it was."""
    with client_of(context) as client:
        output.rows([client.change_extension(name, disabled=False)], EXTENSIONS, False)


@app.command()
def delete(context: typer.Context, name: Name) -> None:
    """Forget it and cut it off."""
    with client_of(context) as client:
        client.delete_extension(name)


def _schemas(says: list[str] | None) -> dict[str, Any]:
    """The schemas by fact, each read from its file: a .proto as it is, JSON Schema otherwise."""
    found: dict[str, Any] = {}
    for pair in says or []:
        fact, _, file = pair.partition("=")
        try:
            text = Path(file).read_text()
            found[fact] = text if file.endswith(".proto") else json.loads(text)
        except (OSError, ValueError) as error:
            message = f"{pair!r} names no file with a JSON Schema or a .proto: {error}"
            raise typer.BadParameter(message, param_hint="--says") from None
    return found
