"""Domain alarms: said by every service."""

from typing import ClassVar

from shared.events.base import Event


class BusAccessDenied(Event):
    """The bus refused a service something that it is not declared to do."""

    about: ClassVar[str] = "service"
    service: str = ""
    action: str = ""
    bus_subject: str = ""
