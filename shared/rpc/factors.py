"""Requests about second factors, which auth answers."""

from typing import Annotated

from pydantic import Field

from shared.rpc.base import Done, Reply, Request

SERVICE = "auth"
Code = Annotated[str, Field(min_length=1, max_length=40, repr=False)]


class TotpView(Reply):
    """Whether a code is asked for at each login, and how many recovery codes are left."""

    enabled: bool
    recovery_codes_left: int


class ShowTotp(Request[TotpView]):
    """Whether a user has a second factor."""

    user_id: str


class TotpBegun(Reply):
    """The secret for an authenticator app, as text and as what a picture of squares would hold; shown this once."""

    secret: str = Field(repr=False)
    uri: str = Field(repr=False)


class BeginTotp(Request[TotpBegun]):
    """Make a secret; it counts once a code of it confirms it."""

    user_id: str


class RecoveryCodes(Reply):
    """Codes that count once each in place of the app's; shown this once."""

    recovery_codes: list[str] = Field(repr=False)


class ConfirmTotp(Request[RecoveryCodes]):
    """Ask for a code at each login from now on."""

    user_id: str
    code: Code


class RemoveTotp(Request[Done]):
    """Ask a user for no code any more."""

    user_id: str


class RemoveOwnTotp(Request[Done]):
    """Ask for no code any more; a code proves who asks."""

    user_id: str
    code: Code


class Unlock(Request[Done]):
    """Let a user try to log in again at once."""

    user_id: str
