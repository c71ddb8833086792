"""With a server down, what can go on goes on; the rest says 503 and when to come back; all recover without help."""

import json
import os
import signal
import time
from typing import Any

import httpx
import psutil
import pytest

from tests.e2e.test_open_inference import IMAGES, MODEL
from tests.house import House, until

BODY = json.dumps(
    {"inputs": [{"name": "image", "datatype": "FP32", "shape": [1, 1, 8, 8], "data": IMAGES[0].ravel().tolist()}]}
)


def infer(house: House) -> httpx.Response:
    return house.http.post(f"/v2/models/{MODEL}/infer", content=BODY)


def infers(house: House) -> bool:
    return infer(house).status_code == 200


def refused(house: House) -> httpx.Response | None:
    """An answer that sends the caller away for now, in the protocol's own form."""
    response = infer(house)
    if response.status_code != 503:
        return None
    assert int(response.headers["Retry-After"]) >= 1
    assert response.json()["error"]
    return response


def test_postgres_down(house: House, champion: int) -> None:
    house.stack.stop(["postgres"])
    try:
        for _ in range(20):
            assert infers(house)
            time.sleep(0.2)
        assert house.http.get("/v2/health/ready").status_code == 200
        response = house.http.get("/api/v1/models")
        assert response.status_code == 503
        assert response.headers["Content-Type"] == "application/problem+json"
        assert response.headers["Retry-After"]
    finally:
        house.stack.start(["postgres"])
    until(lambda: house.http.get("/api/v1/models").status_code == 200, what="the registry to recover")
    house.stack.wait_ready()
    assert infers(house)


def test_nats_down(house: House, champion: int) -> None:
    house.stack.stop(["nats"])
    try:
        until(lambda: refused(house), what="a refusal")
        response = house.http.get("/api/v1/models")
        assert (response.status_code, "Retry-After" in response.headers) == (503, True)
    finally:
        house.stack.start(["nats"])
    until(lambda: infers(house), what="inference to recover")
    until(lambda: house.http.get("/api/v1/models").status_code == 200, what="the registry to recover")


def test_triton_down(house: House, champion: int) -> None:
    house.stack.stop(["triton"])
    try:
        until(lambda: refused(house), what="a refusal")
    finally:
        house.stack.start(["triton"])
    until(lambda: infers(house), what="inference to recover")


def test_a_killed_triton_serves_its_champion_again(house: House, champion: int) -> None:
    before = events(house, "DeploymentReconciled")
    house.stack.kill("triton")
    killed = time.monotonic()
    until(lambda: not infers(house), what="the death to show")
    until(lambda: infers(house), what="the champion to answer")
    print(f"answers again {time.monotonic() - killed:.1f} s after the kill")
    found = until(
        lambda: events(house, "DeploymentReconciled")[len(before) :], what="an event that names the difference"
    )
    assert (found[0]["data"]["expected"], found[0]["data"]["found"]) == ("ready", "missing")


def events(house: House, name: str) -> list[dict[str, Any]]:
    return house.rows("monitor", f"SELECT data FROM timeline WHERE type LIKE '%.{name}' ORDER BY at")


@pytest.mark.parametrize("end", [signal.SIGTERM, signal.SIGKILL])
def test_who_connects_while_the_gateway_starts_again_only_waits(house: House, end: signal.Signals) -> None:
    before = house.stack.pid("gateway")
    os.kill(before, end)
    until(lambda: not psutil.pid_exists(before), what="its end")
    response = httpx.get(f"{house.http.base_url}/v2/health/live", timeout=60)
    assert response.status_code == 200
    until(lambda: house.stack.is_ready("gateway"), what="the gateway")


def test_a_revoked_key_is_refused(house: House) -> None:
    made = house.http.post("/api/v1/api-keys", json={"name": "short-lived", "roles": ["viewer"]}).json()
    mine = house.client(made["secret"])
    until(lambda: mine.get("/api/v1/models").status_code == 200, what="the new key to work")
    assert mine.post("/api/v1/tasks", json={"kind": "train", "model": MODEL}).status_code == 403
    assert house.http.delete(f"/api/v1/api-keys/{made['id']}").status_code in (200, 204)
    revoked = time.monotonic()
    until(lambda: mine.get("/api/v1/models").status_code == 401, what="the key to be refused")
    print(f"refused {time.monotonic() - revoked:.3f} s after the answer")
