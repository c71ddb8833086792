"""The main job under faults: points armed before it, a check of its outcome after it."""

import time
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

import httpx

from tests.audit import UNDISTURBED, Outcome, audit
from tests.faults.points import Point
from tests.house import House, until

CONFIG = {"epochs": 4, "seed": 7}
REDELIVERY_SECONDS = 450.0
PAUSE_SECONDS = 1.0
END_SECONDS = 900.0


def arm(failpoints: Path, points: Iterable[Point]) -> None:
    for point in points:
        point.file(failpoints).touch()


def armed(failpoints: Path) -> list[str]:
    """The points that were not reached."""
    return sorted(f"{file.parent.name} {file.name}" for file in failpoints.glob("*/*"))


def settled(house: House, task_id: str, *, whole: bool = False, seconds: float = REDELIVERY_SECONDS) -> Outcome:
    """The outcome once it is as undisturbed; `whole` waits for what the dead had in hand to be heard again too."""

    found: list[Outcome] = []

    def undisturbed() -> bool:
        time.sleep(PAUSE_SECONDS)
        outcome = audit(house, task_id)
        found[:] = [outcome if whole else replace(outcome, unhandled=0)]
        return found[0] == UNDISTURBED

    until(undisturbed, seconds, "the outcome")
    return found[0]


def finish(house: House, task_id: str) -> None:
    """Wait for the end of the main job and compare its outcome."""
    assert house.wait_task(task_id, END_SECONDS)["state"] == "succeeded"
    house.wait_served(task_id, END_SECONDS)
    assert settled(house, task_id) == UNDISTURBED


def make_and_revoke_key(house: House, name: str) -> None:
    """As a client does who gets no answer: look whether it was done, else ask again."""

    def made() -> str | None:
        found = [key["id"] for key in house.get("api-keys")["keys"] if key["name"] == name]
        if not found:
            house.http.post("/api/v1/api-keys", json={"name": name, "roles": ["viewer"]})
        return found[0] if found else None

    def revoked(key_id: str) -> bool:
        return house.http.delete(f"/api/v1/api-keys/{key_id}").status_code == httpx.codes.OK

    key_id = until(made, what="the key to be made")
    until(lambda: revoked(key_id), what="the key to be revoked")
