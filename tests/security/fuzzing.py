"""What comes from outside and is parsed, against whatever can come: `./justw fuzz --minutes 10`.

Each target takes anything and may refuse it by an error of ours; any other exception is a finding.
"""

import argparse
import asyncio
import base64
import json
import struct
import time
from collections.abc import Callable
from typing import Annotated, Any

import httpx
from fastapi import FastAPI, File, Form, UploadFile
from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st

from services.gateway import problems
from services.gateway.open_inference.bodies import _check_header, header_length_of
from shared import oip
from shared.envelope import read_data, read_envelope
from shared.errors import AimassError
from tests.unit.test_tokens import GATE, claims, signed

EXAMPLES = 200
PLAIN = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20)
JSON = st.recursive(
    PLAIN, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner), max_leaves=8
)


def mutated(good: st.SearchStrategy[bytes]) -> st.SearchStrategy[bytes]:
    """What was good but for a few bytes that were changed, cut out or put in."""

    def change(content: bytes, places: list[tuple[float, int, bytes]]) -> bytes:
        found = bytearray(content)
        for where, cut, put in places:
            place = int(where * len(found))
            found[place : place + cut] = put
        return bytes(found)

    edits = st.tuples(st.floats(0, 1), st.integers(0, 8), st.binary(max_size=8))
    return st.builds(change, good, st.lists(edits, max_size=6))


def tokens() -> st.SearchStrategy[bytes]:
    names = ("iss", "aud", "sub", "iat", "exp", "jti", "project", "epoch")
    bodies = st.dictionaries(st.sampled_from(names), JSON, max_size=3).map(lambda changed: signed(claims(**changed)))
    heads = st.dictionaries(st.sampled_from(("alg", "kid", "typ", "crit", "jku")), JSON, max_size=3)
    forged = heads.map(lambda changed: signed(claims(), **changed))
    parts = st.lists(st.binary(max_size=60).map(base64.urlsafe_b64encode), min_size=1, max_size=4).map(b".".join)
    return st.one_of(
        bodies.map(str.encode), forged.map(str.encode), parts, mutated(st.builds(lambda: signed(claims()).encode()))
    )


def read_token(given: bytes) -> None:
    GATE.identify({b"authorization": b"Bearer " + given})


def headers() -> st.SearchStrategy[bytes]:
    schemes = st.sampled_from((b"Bearer ", b"bearer ", b"Basic ", b"Bearer", b"Bearer aim_", b"", b"Bearer  "))
    keys = st.binary(max_size=100) | st.from_regex(rb"aim_[0-9a-f]{60,70}", fullmatch=True)
    return st.builds(bytes.__add__, schemes, keys)


def read_header(given: bytes) -> None:
    GATE.identify({b"authorization": given})


def good_request() -> st.SearchStrategy[tuple[bytes, int]]:
    def make(name: str, datatype: str, shape: list[int], data: Any, binary: bytes) -> tuple[bytes, int]:
        tensor: dict[str, Any] = {"name": name, "datatype": datatype, "shape": shape}
        tensor |= {"parameters": {"binary_data_size": len(binary)}} if binary else {"data": data}
        header = json.dumps({"id": "1", "inputs": [tensor], "outputs": [{"name": "y"}]}).encode()
        return header + binary, len(header)

    kinds = st.sampled_from(("BOOL", "INT8", "UINT64", "FP16", "BF16", "FP32", "FP64", "BYTES", "INT4"))
    return st.builds(
        make, st.text(max_size=5), kinds, st.lists(st.integers(-1, 5), max_size=4), JSON, st.binary(max_size=40)
    )


def requests() -> st.SearchStrategy[tuple[bytes, bytes]]:
    """A body, and what the header says of its length."""
    changed = good_request().flatmap(lambda made: mutated(st.just(made[0])).map(lambda body: (body, b"%d" % made[1])))
    lengths = st.integers(-5, 2**70).map(lambda size: b"%d" % size) | st.binary(max_size=12)
    anything = st.tuples(JSON.map(lambda value: json.dumps(value).encode()) | st.binary(max_size=80), lengths)
    inputs = st.dictionaries(st.sampled_from(("name", "datatype", "shape", "data", "parameters")), JSON)
    documents = st.lists(inputs, max_size=3).map(lambda found: (json.dumps({"inputs": found}).encode(), b""))
    return changed | anything | documents


def read_request(given: tuple[bytes, bytes]) -> None:
    body, length = given
    found = header_length_of({b"inference-header-content-length": length} if length else {})
    _check_header(found, len(body))
    oip.timeout_of(body, found)
    oip.parse_request(body, found)


def events() -> st.SearchStrategy[tuple[str, dict[str, str], bytes]]:
    names = ("type", "source", "id", "subject", "time", "sequence", "correlationid", "specversion")
    binary = st.dictionaries(st.sampled_from([f"ce-{name}" for name in names]), st.text(max_size=20))
    structured = st.just({"content-type": "application/cloudevents+json"})
    documents = st.dictionaries(st.sampled_from((*names, "data")), JSON).map(
        lambda found: found | {"specversion": "1.0"}
    )
    bodies = (documents | JSON).map(lambda value: json.dumps(value).encode())
    odd = st.sampled_from((b"[" * 100_000, b"", b"\xff\xfe", b'{"a":' * 50_000))
    return st.tuples(st.text(max_size=30), binary | structured, mutated(bodies) | odd)


def read_event(given: tuple[str, dict[str, str], bytes]) -> None:
    subject, found, body = given
    read_envelope(subject, found, body)
    read_data(found, body)


def blocks() -> st.SearchStrategy[bytes]:
    """Frames of the data plane, which gateway and inference send each other."""
    lengths = st.lists(st.integers(0, 2**32 - 1), max_size=6).map(lambda found: struct.pack(f"<{len(found)}I", *found))
    return st.binary(max_size=200) | st.builds(bytes.__add__, lengths, st.binary(max_size=60))


def forms() -> st.SearchStrategy[tuple[str, bytes]]:
    part = b'--b\r\nContent-Disposition: form-data; name="%b"; filename="%b"\r\nContent-Type: %b\r\n\r\n%b\r\n'
    word = st.sampled_from((b"file", b"model", b"stream", b"")) | st.binary(max_size=12)
    made = st.lists(st.builds(lambda *found: part % found, word, word, word, st.binary(max_size=60)), max_size=4)
    bodies = mutated(made.map(lambda found: b"".join(found) + b"--b--\r\n")) | st.binary(max_size=100)
    kinds = (
        "multipart/form-data; boundary=b",
        "multipart/form-data",
        "multipart/form-data; boundary=",
        "multipart/mixed",
    )
    more = (
        'multipart/form-data; boundary="b',
        "multipart/form-data; boundary=b; charset=utf-7",
        "multipart/x; boundary=b",
    )
    return st.tuples(st.sampled_from((*kinds, *more)), bodies)


def form_app() -> FastAPI:
    """A form as the gateway's only one is, with the gateway's answers to what is wrong."""
    app = FastAPI()
    problems.install(app)

    @app.post("/")
    async def take(
        file: Annotated[UploadFile, File()], model: Annotated[str, Form()], stream: Annotated[bool, Form()] = False
    ) -> int:
        return len(await file.read()) + len(model) + stream

    return app


CLIENT = httpx.AsyncClient(transport=httpx.ASGITransport(form_app()), base_url="http://gateway")
LOOP = asyncio.new_event_loop()


def read_form(given: tuple[str, bytes]) -> None:
    kind, body = given
    answer = LOOP.run_until_complete(CLIENT.post("/", content=body, headers={"Content-Type": kind}))
    assert answer.status_code in (200, 400, 415, 422), answer.text


TARGETS: dict[str, tuple[Callable[[], st.SearchStrategy[Any]], Callable[[Any], None]]] = {
    "access tokens": (tokens, read_token),
    "Authorization headers": (headers, read_header),
    "inference requests": (requests, read_request),
    "events": (events, read_event),
    "forms": (forms, read_form),
}


def fuzz(name: str, seconds: float) -> int:
    """How many examples were tried in that time; raises what a target should not."""
    make, target = TARGETS[name]
    tried, until, number = 0, time.monotonic() + seconds, 0

    def attempt(given: Any) -> None:
        nonlocal tried
        tried += 1
        try:
            target(given)
        except AimassError as refused:
            assert refused.status < 500

    strategy = make()
    while time.monotonic() < until:
        number += 1
        seed(number)(_told(given(strategy)(attempt)))()
    return tried


def _told(test: Any) -> Any:
    return settings(
        max_examples=EXAMPLES,
        database=None,
        deadline=None,
        derandomize=False,
        phases=(Phase.generate, Phase.shrink),
        suppress_health_check=list(HealthCheck),
    )(test)


def main() -> None:
    parser = argparse.ArgumentParser(prog="just fuzz", description=__doc__)
    parser.add_argument("--minutes", type=float, default=10)
    parser.add_argument("targets", nargs="*", choices=[[], *TARGETS], default=[])
    asked = parser.parse_args()
    for name in asked.targets or TARGETS:
        print(
            f"{name}: {fuzz(name, asked.minutes * 60)} inputs in {asked.minutes:g} min, none broke anything", flush=True
        )


if __name__ == "__main__":
    main()
