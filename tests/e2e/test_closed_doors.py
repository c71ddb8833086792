"""Doors of a running stack that are closed: listeners beyond loopback, Triton's own APIs, bodies that would hurt it."""

import json
from contextlib import closing, suppress
from http.client import HTTPConnection
from typing import Any

import psutil
import pytest

from deploy.embedded.parts import SERVERS
from shared.streams import SERVICES
from tests.house import House

OTHER_APIS = [
    *(("GET", f"/v2/{kind}sharedmemory/status") for kind in ("system", "cuda")),
    *(("POST", f"/v2/{kind}sharedmemory/region/{name}/register") for kind in ("system", "cuda") for name in "ab"),
    *(("POST", f"/v2/systemsharedmemory/{path}") for path in ("unregister", "region/a/unregister")),
    *(("POST", f"/v2/repository/{path}") for path in ("index", "models/digits-cnn/load", "models/digits-cnn/unload")),
    *((method, path) for path in ("/v2/trace/setting", "/v2/logging") for method in ("GET", "POST")),
    *((method, "/v2/models/digits-cnn/trace/setting") for method in ("GET", "POST")),
]


def test_nothing_listens_beyond_loopback(house: House) -> None:
    parts = [*SERVICES, *SERVERS]
    found = {}
    for part in parts:
        process = psutil.Process(house.stack.pid(part))
        for each in (process, *process.children(recursive=True)):
            with suppress(psutil.NoSuchProcess):
                listening = [c for c in each.net_connections("inet") if c.status == psutil.CONN_LISTEN]
                found |= {(part, c.laddr.port): c.laddr.ip.removeprefix("::ffff:") for c in listening}
    assert {part for part, _ in found} >= {*SERVICES, "nats", "postgres", "triton"}
    assert set(found.values()) == {"127.0.0.1"}


@pytest.mark.parametrize(("method", "path"), OTHER_APIS)
def test_other_apis_of_triton_are_not_passed_on(house: House, champion: int, method: str, path: str) -> None:
    body = {"key": "/aimass", "byte_size": 64, "parameters": {}, "trace_level": ["TENSORS"]}
    answer = house.http.request(method, path, json=body if method == "POST" else None)
    assert answer.status_code == 404, answer.text
    assert "shm" not in answer.text and "aimass-" not in answer.text


def chunked(house: House, path: str, chunk: bytes, count: int) -> int:
    host, _, port = house.address.partition(":")
    with closing(HTTPConnection(host, int(port), timeout=360)) as connection:
        connection.putrequest("POST", path)
        connection.putheader("Authorization", f"Bearer {house.key}")
        connection.putheader("Transfer-Encoding", "chunked")
        connection.endheaders()
        piece = b"%x\r\n%b\r\n" % (len(chunk), chunk)
        with suppress(ConnectionError):
            for _ in range(64):
                connection.send(piece * (count // 64))
            connection.send(b"0\r\n\r\n")
        return connection.getresponse().status


HURTFUL: dict[str, dict[str, Any]] = {
    "a shared memory region": {"parameters": {"shared_memory_region": "aimass-1", "shared_memory_byte_size": 256}},
    "sizes that overflow": {"shape": [2**62, 2**62], "data": [0]},
    "a negative size": {"shape": [-1, 1, 8, 8], "data": [0]},
    "deep data": {"data": json.loads("[" * 400 + "]" * 400)},
    "a file": {"parameters": {"binary_data_size": 2**62}},
}


def test_bodies_that_hurt_triton_do_not_reach_it(house: House, champion: int) -> None:
    path, before = "/v2/models/digits-cnn/infer", house.stack.pid("triton")
    assert 400 <= chunked(house, path, b"x", 3 * 2**20) < 500
    assert chunked(house, path, b'{"a": [' + b"[0]," * 2**18, 128) == 413
    tensor = {"name": "image", "datatype": "FP32", "shape": [1, 1, 8, 8], "data": [0.0] * 64}
    for name, changed in HURTFUL.items():
        answer = house.http.post(path, json={"inputs": [tensor | changed]})
        assert 400 <= answer.status_code < 500, (name, answer.text)
        assert "shm" not in answer.text and "aimass-" not in answer.text, name
    assert house.http.post(path, json={"inputs": [tensor]}).status_code == 200
    assert house.stack.pid("triton") == before
