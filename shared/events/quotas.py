"""Domain quotas: what projects may use and what it costs, said by monitor."""

from typing import ClassVar

from shared.events.base import Event, Int64, Message


class QuotaLimit(Message):
    """What a project may use of one thing: soft tells early, hard refuses; missing ones do not limit."""

    quota: str = ""
    soft: Int64 | None = None
    hard: Int64 | None = None


class QuotasSet(Event):
    """A project may use this much from now on."""

    about: ClassVar[str] = "project"
    audited: ClassVar[bool] = True
    project: str = ""
    limits: tuple[QuotaLimit, ...] = ()
    actor: str = ""


class QuotaNearing(Event):
    """A project has used most of what it may; used, limit and the day on which the quota begins anew, if it does."""

    about: ClassVar[str] = "quota"
    quota: str = ""
    used: Int64 = 0
    limit: Int64 = 0
    renews_on: str = ""


class QuotaExceeded(Event):
    """A project has used all that it may, and is refused more until the day on which the quota begins anew."""

    about: ClassVar[str] = "quota"
    quota: str = ""
    used: Int64 = 0
    limit: Int64 = 0
    renews_on: str = ""


class PricesSet(Event):
    """These are the prices of units from a day on, as decimal texts."""

    about: ClassVar[str] = "valid_from"
    audited: ClassVar[bool] = True
    valid_from: str = ""
    currency: str = ""
    prices: dict[str, str] = {}
    actor: str = ""
