"""One trace id runs from the HTTP request over the bus to the call of Triton."""

import json
import secrets
from typing import Any

from tests.e2e.test_open_inference import MODEL
from tests.e2e.test_outages import BODY
from tests.house import House, until


def spans(house: House, trace: str) -> dict[str, list[dict[str, Any]]]:
    """The spans of a trace, by service."""
    found: dict[str, list[dict[str, Any]]] = {}
    for path in house.stack.home.path.glob("traces/*"):
        mine = [json.loads(line) for line in path.read_text().splitlines() if trace in line]
        if mine:
            found[path.name.partition(".")[0]] = mine
    return found


def test_one_trace_from_http_to_triton(house: House, champion: int) -> None:
    trace, parent = secrets.token_hex(16), secrets.token_hex(8)
    headers = {"traceparent": f"00-{trace}-{parent}-01"}
    assert house.http.post(f"/v2/models/{MODEL}/infer", content=BODY, headers=headers).status_code == 200
    until(lambda: {"gateway", "inference"} <= spans(house, trace).keys(), 20, "the spans to be written")
    found = [span for service in spans(house, trace).values() for span in service]
    assert {span["context"]["trace_id"] for span in found} == {f"0x{trace}"}
    names = " ".join(span["name"] for span in found)
    assert "triton" in names
    ids = {span["context"]["span_id"] for span in found} | {f"0x{parent}"}
    assert all(span["parent_id"] in ids for span in found)


def test_a_control_request_is_traced_into_its_service(house: House) -> None:
    trace = secrets.token_hex(16)
    headers = {"traceparent": f"00-{trace}-{secrets.token_hex(8)}-01"}
    assert house.http.get("/api/v1/models", headers=headers).status_code == 200
    until(lambda: {"gateway", "registry"} <= spans(house, trace).keys(), 20, "the spans to be written")
