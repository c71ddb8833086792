"""Event: a fact on the bus. Its body is proto3 JSON of the message of the same name in proto-schemas/."""

from datetime import UTC, datetime
from typing import Annotated, Any, ClassVar

from pydantic import AwareDatetime, BaseModel, BeforeValidator, ConfigDict, PlainSerializer
from pydantic.alias_generators import to_camel

from shared.names import snake


def _rfc3339(moment: datetime) -> str:
    return moment.astimezone(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")


Int64 = Annotated[int, BeforeValidator(int), PlainSerializer(str, return_type=str, when_used="json")]
Timestamp = Annotated[AwareDatetime, PlainSerializer(_rfc3339, return_type=str, when_used="json")]


class Message(BaseModel):
    """A proto3 message: prints snake_case, accepts camelCase, and every field has a default or is optional."""

    model_config = ConfigDict(
        frozen=True,
        extra="ignore",
        populate_by_name=True,
        alias_generator=to_camel,
        serialize_by_alias=False,
        ser_json_inf_nan="strings",
        defer_build=True,
    )


PART_OF = {"rights": "identity"}


def _domain(module: str) -> str:
    name = module.rpartition(".")[2]
    return PART_OF.get(name, name)


class Event(Message):
    """Something that happened. The module names the domain (or PART_OF), the class the fact, `about` the aggregate.

    An `audited` one is a decision that somebody answers for: it is kept in the audit.
    """

    about: ClassVar[str]
    audited: ClassVar[bool] = False
    stream: ClassVar[str] = "EVT"

    @classmethod
    def domain(cls) -> str:
        return _domain(cls.__module__)

    @classmethod
    def fact(cls) -> str:
        return snake(cls.__name__)

    @classmethod
    def type_name(cls) -> str:
        """The full name of the proto message, used as the CloudEvents type."""
        return f"aimass.{cls.domain()}.v1.{cls.__name__}"

    @classmethod
    def subject(cls, project: str) -> str:
        return f"evt.{project}.{cls.domain()}.v1.{cls.fact()}"

    @property
    def aggregate(self) -> str:
        return f"{self.domain()}/{getattr(self, self.about)}"


EXTENSION_TYPES = "ext-"


class Foreign(Event):
    """What an extension said: checked against the schema that it registered, and nothing that the platform knows."""

    model_config = ConfigDict(extra="allow")
    about: ClassVar[str] = ""


class Command(Message):
    """Something that a service is told to do; the module names the service."""

    @classmethod
    def type_name(cls) -> str:
        return f"aimass.{_domain(cls.__module__)}.v1.{cls.__name__}"

    @classmethod
    def subject(cls, project: str) -> str:
        return f"cmd.{project}.{_domain(cls.__module__)}.v1.{snake(cls.__name__)}"


def events_of(module: Any) -> tuple[type[Event], ...]:
    """All events that a module of shared.events defines, in the order of their definition."""
    found = [value for value in vars(module).values() if isinstance(value, type)]
    return tuple(value for value in found if issubclass(value, Event) and value.__module__ == module.__name__)
