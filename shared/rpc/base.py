"""Request: a question or an order to one service, answered with its reply model over `rpc.<service>.<verb>`."""

import sys
from typing import Any, ClassVar, Generic, TypeVar, cast

from pydantic import BaseModel, ConfigDict

from shared.names import snake

Reply_co = TypeVar("Reply_co", bound=BaseModel, covariant=True)


class Reply(BaseModel):
    """What a service answers; readers ignore fields that they do not know."""

    model_config = ConfigDict(extra="ignore", ser_json_inf_nan="strings", defer_build=True)


class Written(Reply):
    """A reply whose JSON the database wrote: thousands of numbers pass without becoming objects of any process."""

    json_text: str


def as_bytes(reply: BaseModel) -> bytes:
    """What goes over the bus."""
    return (reply.json_text if isinstance(reply, Written) else reply.model_dump_json()).encode()


class Done(Reply):
    """The order was carried out; there is nothing to tell."""


class Request(BaseModel, Generic[Reply_co]):
    """A request; the module names the service, the class names the verb.

    `idempotent` requests honour an Idempotency-Key, for which the reply is kept without `not_kept`; `varying` fields
    are of the attempt and not compared. `awaits_publication` ones are answered only after the bus holds the messages
    that they caused.
    """

    model_config = ConfigDict(extra="forbid", defer_build=True)
    idempotent: ClassVar[bool] = False
    not_kept: ClassVar[frozenset[str]] = frozenset()
    varying: ClassVar[frozenset[str]] = frozenset()
    awaits_publication: ClassVar[bool] = False

    @classmethod
    def verb(cls) -> str:
        return snake(cls.__name__)

    @classmethod
    def service(cls) -> str:
        """The module's SERVICE, or else its name."""
        named: str | None = getattr(sys.modules[cls.__module__], "SERVICE", None)
        return named or cls.__module__.rpartition(".")[2]

    @classmethod
    def subject(cls, service: str | None = None) -> str:
        return f"rpc.{service or cls.service()}.{cls.verb()}"

    @classmethod
    def reply_type(cls) -> type[BaseModel]:
        """The reply model, read from the base class's parameter."""
        for base in cls.__mro__:
            arguments = cast(Any, base).__pydantic_generic_metadata__["args"] if issubclass(base, Request) else ()
            if arguments:
                return cast(type[BaseModel], arguments[0])
        raise TypeError(f"{cls.__name__} names no reply model")

    @classmethod
    def repeated(cls, kept: dict[str, Any]) -> BaseModel:
        """The answer to the same request with the same Idempotency-Key, from what was kept of the first one."""
        return cls.reply_type().model_validate(kept)
