"""Extensions: software of others that hears a project's events on the bus and says its own."""

from collections.abc import Mapping, Sequence
from typing import Any, TypedDict

from aimass.calls import Call, call, get, nothing
from aimass.methods import method


class Lag(TypedDict):
    """How far an extension is behind: what waits, what it holds without an answer, and the last that it answered."""

    waiting: int
    unanswered: int
    again: int
    last_answered: int


class Credentials(TypedDict):
    """All that a NATS client of any language needs; the password is shown this once."""

    url: str
    user: str
    password: str
    inbox_prefix: str
    stream: str
    consumer: str
    publish: dict[str, str]


class Extension(TypedDict):
    """What an extension hears, and what it says by the schema of each fact."""

    name: str
    project: str
    hears: list[str]
    says: dict[str, dict[str, Any]]
    starts_at: str | None
    ack_wait: int
    max_ack_pending: int
    events_per_second: int
    max_bytes: int
    created_by: str
    created_at: str | None
    disabled_at: str | None
    lag: Lag | None


class NewExtension(Extension):
    """An extension with the credentials that are shown this once."""

    credentials: Credentials


class Extensions:
    """What a client can do with extensions."""

    @method
    def extensions(self) -> Call[list[Extension]]:
        """The extensions of the project, and how far each is behind."""
        return get("extensions", take="extensions")

    @method
    def extension(self, name: str) -> Call[Extension]:
        """One extension, and how far it is behind."""
        return get(f"extensions/{name}")

    @method
    def register_extension(
        self,
        name: str,
        *,
        hears: Sequence[str] = (),
        says: Mapping[str, Mapping[str, Any] | str] | None = None,
        start: str = "now",
        ack_wait: int = 30,
        max_ack_pending: int = 64,
        events_per_second: int = 10,
        max_bytes: int = 32 * 1024,
    ) -> Call[NewExtension]:
        """Let software of others hear and say these; its history begins with `start`: all, now or a time."""
        body: dict[str, Any] = {"name": name, "hears": list(hears), "says": dict(says or {}), "start": start}
        body |= {"ack_wait": ack_wait, "max_ack_pending": max_ack_pending}
        return call("POST", "extensions", json=body | {"events_per_second": events_per_second, "max_bytes": max_bytes})

    @method
    def change_extension(
        self,
        name: str,
        *,
        hears: Sequence[str] | None = None,
        says: Mapping[str, Mapping[str, Any] | str] | None = None,
        disabled: bool | None = None,
    ) -> Call[Extension]:
        """Have it hear or say something else, shut it out or let it in again; what is None stays."""
        body = {"hears": hears and list(hears), "says": says and dict(says), "disabled": disabled}
        return call("PATCH", f"extensions/{name}", json=body)

    @method
    def rotate_extension(self, name: str) -> Call[NewExtension]:
        """Make another password; who came in with the old one is cut off."""
        return call("POST", f"extensions/{name}/credentials")

    @method
    def delete_extension(self, name: str) -> Call[None]:
        """Forget it, its consumer and its password, and cut it off."""
        return nothing("DELETE", f"extensions/{name}")
