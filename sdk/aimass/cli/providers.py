"""providers: identity providers of the project, through which people log in."""

from collections.abc import Sequence
from typing import Annotated, Any

import typer

from aimass.cli import exits, output
from aimass.cli.access import secret
from aimass.cli.session import client_of
from aimass.providers import IdentityProvider

Name = Annotated[str, typer.Argument(metavar="NAME", help="What it is called here, as in 'aimass login --provider'.")]
Groups = Annotated[
    list[str] | None, typer.Option("--group", metavar="GROUP=ROLE", help="A role of a group of theirs; repeat it.")
]
Roles = Annotated[list[str] | None, typer.Option("--role", help="A role that everybody of theirs has; repeat it.")]
Scopes = Annotated[list[str] | None, typer.Option("--scope", help="What is asked for; repeat it.")]
NameClaim = Annotated[str | None, typer.Option(help="The claim that gives a new user's name.")]
GroupsClaim = Annotated[str | None, typer.Option(help="The claim that lists groups.")]
PROVIDERS: output.Columns = {
    "NAME": lambda found: found["name"],
    "ISSUER": lambda found: found["issuer"],
    "CLIENT": lambda found: found["client_id"],
    "ROLES": lambda found: _roles(found),
    "REDIRECT URI": lambda found: found["redirect_uri"],
    "DISABLED": lambda found: output.moment(found["disabled_at"]),
}

app = typer.Typer(name="providers", no_args_is_help=True, help="Identity providers, through which people log in.")


def _roles(provider: IdentityProvider) -> str:
    by_group = (f"{group}={','.join(roles)}" for group, roles in provider["group_roles"].items())
    return " ".join([*provider["default_roles"], *by_group])


@app.command("list")
def list_providers(context: typer.Context, as_json: output.AsJson = False) -> None:
    """List the identity providers of the project, and what each gives."""
    with client_of(context) as client:
        output.rows(client.identity_providers(), PROVIDERS, as_json)


@app.command()
def add(
    context: typer.Context,
    name: Name,
    issuer: Annotated[str, typer.Argument(metavar="ISSUER", help="What the provider calls itself: an address.")],
    client: Annotated[str, typer.Argument(metavar="CLIENT_ID", help="What the provider knows this platform by.")],
    public_url: Annotated[str, typer.Argument(metavar="URL", help="Where people's browsers reach the gateway.")],
    group: Groups = None,
    role: Roles = None,
    scope: Scopes = None,
    name_claim: NameClaim = None,
    groups_claim: GroupsClaim = None,
    without_secret: Annotated[bool, typer.Option(help="For a public client: no client secret is asked for.")] = False,
    as_json: output.AsJson = False,
) -> None:
    """Let people log in through a provider; the client secret is asked for, or read from stdin.

    The provider must know the redirect_uri that is printed.
    """
    given = "" if without_secret else secret("Client secret")
    more = _named(scopes=scope, name_claim=name_claim, groups_claim=groups_claim)
    more |= {"group_roles": group_roles(group or ()), "default_roles": role or []}
    with client_of(context) as asked:
        made = asked.add_identity_provider(name, issuer, client, public_url, client_secret=given, more=more)
    output.facts(made, as_json)


@app.command()
def change(
    context: typer.Context,
    name: Name,
    client: Annotated[str | None, typer.Option(help="Another client id.")] = None,
    public_url: Annotated[str | None, typer.Option(help="Where browsers reach the gateway now.")] = None,
    group: Groups = None,
    role: Roles = None,
    scope: Scopes = None,
    name_claim: NameClaim = None,
    groups_claim: GroupsClaim = None,
    new_secret: Annotated[bool, typer.Option(help="Ask for another client secret.")] = False,
    enabled: Annotated[bool | None, typer.Option("--enable/--disable", help="Whether it lets people in.")] = None,
    as_json: output.AsJson = False,
) -> None:
    """Change what is named; groups and roles that are named take the place of all those of before."""
    changes = _named(client_id=client, public_url=public_url, default_roles=role, scopes=scope)
    changes |= _named(name_claim=name_claim, groups_claim=groups_claim)
    changes |= _named(group_roles=None if group is None else group_roles(group))
    changes |= _named(disabled=None if enabled is None else not enabled)
    if new_secret:
        changes["client_secret"] = secret("Client secret")
    if not changes:
        exits.leave(exits.USAGE, "nothing is to change: name what, such as --group, --new-secret or --disable")
    with client_of(context) as asked:
        output.facts(asked.change_identity_provider(name, changes), as_json)


@app.command()
def remove(context: typer.Context, name: Name) -> None:
    """Forget a provider through which nobody came; disable one through which somebody did."""
    with client_of(context) as client:
        client.delete_identity_provider(name)


def group_roles(given: Sequence[str]) -> dict[str, list[str]]:
    """Roles by groups; the role stands after the last '=', as names of groups may have one."""
    found: dict[str, list[str]] = {}
    for text in given:
        group, _, role = text.rpartition("=")
        if not group or not role:
            raise typer.BadParameter(f"'{text}' is no GROUP=ROLE, such as ml-team=engineer")
        found.setdefault(group, []).append(role)
    return found


def _named(**options: Any) -> dict[str, Any]:
    """What was named on the command line."""
    return {name: value for name, value in options.items() if value is not None and value != []}
