"""keys: API keys of the project."""

from typing import Annotated

import typer

from aimass import types as t
from aimass.cli import output
from aimass.cli.session import client_of

KeyId = Annotated[str, typer.Argument(metavar="ID", help="The key's id, as the list shows it.")]
KEYS: output.Columns = {
    "ID": lambda found: found["id"],
    "NAME": lambda found: found["name"],
    "PREFIX": lambda found: found["prefix"],
    "ROLES": lambda found: ", ".join(found["roles"]),
    "FOR": lambda found: _narrowed(found),
    "USED": lambda found: output.moment(found["last_used_at"]),
    "ENDS": lambda found: output.moment(found["revoked_at"] or found["expires_at"]),
}

app = typer.Typer(name="keys", no_args_is_help=True, help="API keys: made, narrowed, rotated and revoked.")


def _narrowed(key: t.ApiKey) -> str:
    named = [*(key["scopes"] or ()), *key["models"], *key["addresses"]]
    limits = [(key["rate"], "/s"), (key["daily_requests"], "/day")]
    return ", ".join([*named, *(f"{value:g}{unit}" for value, unit in limits if value is not None)])


@app.command("list")
def list_keys(context: typer.Context, as_json: output.AsJson = False) -> None:
    """List keys, what each is narrowed to, and when it was last used."""
    with client_of(context) as client:
        output.rows(client.api_keys(), KEYS, as_json)


@app.command()
def create(
    context: typer.Context,
    name: Annotated[str, typer.Argument(metavar="NAME", help="What it is for, in your words.")],
    role: Annotated[list[str], typer.Option(help="A role that it has; repeat it.")],
    scope: Annotated[list[str] | None, typer.Option(help="Of its roles, this permission alone; repeat it.")] = None,
    model: Annotated[list[str] | None, typer.Option(help="A model that it is for, such as 'spam-*'; repeat.")] = None,
    address: Annotated[list[str] | None, typer.Option(help="A network that it may come from; repeat it.")] = None,
    rate: Annotated[float | None, typer.Option(help="Requests a second.")] = None,
    burst: Annotated[int | None, typer.Option(help="Requests at once; without it those of a second.")] = None,
    daily: Annotated[int | None, typer.Option(help="Requests a day of UTC.")] = None,
    ends: Annotated[str | None, typer.Option(help="When it ends, such as 2030-01-31T12:00:00Z.")] = None,
    as_json: output.AsJson = False,
) -> None:
    """Make a key, and print its secret, this once: alone on stdout, so that it can go into a file."""
    with client_of(context) as client:
        made = client.create_api_key(
            name,
            role,
            expires_at=ends,
            scopes=scope or None,
            models=model or (),
            addresses=address or (),
            rate=rate,
            burst=burst,
            daily_requests=daily,
        )
    _told(made, as_json)


@app.command()
def rotate(
    context: typer.Context,
    key: KeyId,
    overlap: Annotated[int, typer.Option(min=0, help="Seconds for which the secret before goes on to count.")] = 3600,
    as_json: output.AsJson = False,
) -> None:
    """Give a key another secret, and print it, this once."""
    with client_of(context) as client:
        _told(client.rotate_api_key(key, overlap_seconds=overlap), as_json)


@app.command()
def revoke(context: typer.Context, key: KeyId, as_json: output.AsJson = False) -> None:
    """Let a key count no more, with any secret that it ever had."""
    with client_of(context) as client:
        output.rows([client.revoke_api_key(key)], KEYS, as_json)


def _told(made: t.NewApiKey, as_json: bool) -> None:
    if as_json:
        return output.document(made)
    output.note(f"key {made['id']}, '{made['name']}'; its secret is shown this once")
    return output.line(made["secret"])
