"""sessions, totp, service-accounts, invitations: who gets in, and how."""

from typing import Annotated

import typer

from aimass.cli import output
from aimass.cli.access import address_of, client_without_key, secret
from aimass.cli.session import Wanted, client_of
from aimass.client import accept_invitation

Roles = Annotated[list[str], typer.Option("--role", help="A role that it has; once for each.")]
SESSIONS: output.Columns = {
    "SESSION": lambda session: session["id"],
    "MADE": lambda session: output.moment(session["created_at"]),
    "USED": lambda session: output.moment(session["last_used_at"]),
    "FROM": lambda session: session["address"],
    "ENDS": lambda session: output.moment(session["ends_at"]),
}
ACCOUNTS: output.Columns = {
    "CLIENT ID": lambda account: account["id"],
    "NAME": lambda account: account["name"],
    "ROLES": lambda account: ", ".join(account["roles"]),
    "SECRETS OF": lambda account: ", ".join(output.moment(made) for made in account["secrets"]),
}
INVITATIONS: output.Columns = {
    "INVITATION": lambda invitation: invitation["id"],
    "NAME": lambda invitation: invitation["name"],
    "ROLES": lambda invitation: ", ".join(invitation["roles"]),
    "UNTIL": lambda invitation: output.moment(invitation["ends_at"]),
}

sessions = typer.Typer(name="sessions", no_args_is_help=True, help="Your sessions: where you are logged in.")
totp = typer.Typer(name="totp", no_args_is_help=True, help="Your second factor: codes of an authenticator app.")
accounts = typer.Typer(name="service-accounts", no_args_is_help=True, help="Software that asks in its own name.")
invitations = typer.Typer(name="invitations", no_args_is_help=True, help="People who are to log in.")

GROUPS = (sessions, totp, accounts, invitations)


@sessions.command("list")
def list_sessions(context: typer.Context, as_json: output.AsJson = False) -> None:
    """List your sessions that last, the one used last first."""
    with client_of(context) as client:
        output.rows(client.sessions(), SESSIONS, as_json)


@sessions.command("end")
def end_session(
    context: typer.Context, session: Annotated[str, typer.Argument(metavar="SESSION", help="Its id.")]
) -> None:
    """End a session; within a second it counts nowhere."""
    with client_of(context) as client:
        client.end_session(session)


@totp.command("show")
def show_totp(context: typer.Context, as_json: output.AsJson = False) -> None:
    """Show whether you are asked for a code, and how many recovery codes are left."""
    with client_of(context) as client:
        output.facts(client.totp(), as_json)


@totp.command("on")
def begin_totp(context: typer.Context, as_json: output.AsJson = False) -> None:
    """Be asked for a code at each login: put the secret into an app, type its code, and keep the recovery codes."""
    with client_of(context) as client:
        begun = client.begin_totp()
        output.note(f"secret: {begun['secret']}\n{begun['uri']}")
        codes = client.confirm_totp(secret("Code that the app shows"))
    if as_json:
        return output.document({"recovery_codes": codes})
    output.note("each of these counts once in place of a code; they are shown this once:")
    for code in codes:
        output.line(code)
    return None


@totp.command("off")
def remove_totp(context: typer.Context) -> None:
    """Be asked for no code any more; a code, or a recovery code, is asked for this once."""
    with client_of(context) as client:
        client.remove_totp(secret("Code"))


@accounts.command("list")
def list_accounts(context: typer.Context, as_json: output.AsJson = False) -> None:
    """List the service accounts of the project by name."""
    with client_of(context) as client:
        output.rows(client.service_accounts(), ACCOUNTS, as_json)


@accounts.command("create")
def create_account(
    context: typer.Context,
    name: Annotated[str, typer.Argument(metavar="NAME", help="How it is called.")],
    role: Roles,
    as_json: output.AsJson = False,
) -> None:
    """Make one; its client id and secret are shown this once."""
    with client_of(context) as client:
        output.facts(client.create_service_account(name, role), as_json)


@accounts.command("rotate")
def rotate_account(
    context: typer.Context,
    account: Annotated[str, typer.Argument(metavar="CLIENT_ID", help="Its client id.")],
    overlap: Annotated[int, typer.Option(min=0, help="Seconds that the secret of before goes on.")] = 86400,
    as_json: output.AsJson = False,
) -> None:
    """Make another secret, shown this once; the one before goes on for a day, if you say nothing else."""
    with client_of(context) as client:
        output.facts(client.rotate_service_account(account, overlap_seconds=overlap), as_json)


@accounts.command("delete")
def delete_account(
    context: typer.Context, account: Annotated[str, typer.Argument(metavar="CLIENT_ID", help="Its client id.")]
) -> None:
    """Refuse it and its tokens from now on."""
    with client_of(context) as client:
        client.delete_service_account(account)


@invitations.command("list")
def list_invitations(context: typer.Context, as_json: output.AsJson = False) -> None:
    """List the invitations that still count."""
    with client_of(context) as client:
        output.rows(client.invitations(), INVITATIONS, as_json)


@invitations.command("revoke")
def revoke_invitation(
    context: typer.Context, invitation: Annotated[str, typer.Argument(metavar="INVITATION", help="Its id.")]
) -> None:
    """Let one count no more."""
    with client_of(context) as client:
        client.revoke_invitation(invitation)


@invitations.command("accept")
def accept(
    context: typer.Context,
    url: Annotated[str, typer.Argument(metavar="URL", help="Where the gateway is.")],
    as_json: output.AsJson = False,
) -> None:
    """Become the user that was invited: the token and a password of your own are asked for."""
    wanted: Wanted = context.obj
    token, password = secret("Token of the invitation"), secret("Password of your own")
    with client_without_key(address_of(url, wanted.profile), wanted) as anonymous:
        output.facts(anonymous.run(accept_invitation(token, password)), as_json)


def invite(
    context: typer.Context,
    name: Annotated[str, typer.Argument(metavar="NAME", help="The name to log in with.")],
    role: Roles,
    as_json: output.AsJson = False,
) -> None:
    """Invite a person, for three days; the token is shown this once, for you to hand over."""
    with client_of(context) as client:
        output.facts(client.invite(name, role), as_json)
