"""Requests about sessions, which auth answers."""

import re
from datetime import datetime
from typing import Annotated, ClassVar, Final

from pydantic import BaseModel, ConfigDict, Field

from shared.names import Slug
from shared.rpc.auth import GivenPassword, LoggedIn, UserName
from shared.rpc.base import Done, Reply, Request

SERVICE = "auth"
REFRESH_PREFIX: Final = "air_"
REFRESH_PATTERN = re.compile(rf"{REFRESH_PREFIX}[0-9a-f]{{96}}")
RefreshToken = Annotated[str, Field(min_length=1, max_length=200, repr=False)]
Code = Annotated[str, Field(max_length=40, repr=False)]
Address = Annotated[str, Field(max_length=64)]


class LoginForm(BaseModel):
    """A name and a password, and a code where the user has a second factor; in the own project if none is named."""

    model_config = ConfigDict(extra="forbid")
    name: UserName
    password: GivenPassword
    code: Code = ""
    project: Slug | None = None


class Login(Request[LoggedIn]):
    """Begin a session with name and password; the address is the client's as the gateway sees it."""

    name: UserName
    password: GivenPassword
    code: Code = ""
    project: Slug | None = None
    address: Address = ""


class RefreshSession(Request[LoggedIn]):
    """Go on with a session; its refresh token counts once."""

    refresh_token: RefreshToken
    address: Address = ""


class SessionView(Reply):
    """A session that lasts: since when, when and from where it was used last, and when it ends if nobody uses it."""

    id: str
    created_at: datetime
    last_used_at: datetime
    ends_at: datetime
    address: str = ""


class SessionList(Reply):
    """Sessions of a user, the one used last first."""

    sessions: list[SessionView] = []


class ListSessions(Request[SessionList]):
    """Show the sessions of a user that last."""

    user_id: str


class EndSession(Request[Done]):
    """End one session of a user; answered when the bus holds that."""

    awaits_publication: ClassVar[bool] = True
    user_id: str
    session_id: str
