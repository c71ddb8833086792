"""Bad input on every route of the API, as it describes itself: refused in words, never a crash."""

import json
import re
from collections.abc import AsyncIterator, Iterator
from typing import Any, NamedTuple
from urllib.parse import quote

import httpx
import pytest
import pytest_asyncio
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from deploy.embedded.testing_servers import PostgresServer
from services.gateway.control import BODY_LIMIT
from shared.names import new_id
from tests.conftest import fresh_database
from tests.integration.good_bodies import BODIES, OTHERWISE_REFUSED, UNKNOWN
from tests.integration.whole_gateway import MODEL, Whole, whole_gateway

pytestmark = pytest.mark.asyncio(loop_scope="module")
PHASES = (Phase.explicit, Phase.generate)
ROUNDS = settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck), database=None, phases=PHASES)
ANY = st.integers(min_value=0, max_value=5039)
JSON = {"Content-Type": "application/json"}
METHODS = {"GET", "POST", "PUT", "PATCH", "DELETE"}
HOSTILE = [
    "..",
    ".",
    "a.b",
    ">",
    "*",
    "a*b",
    "a/b",
    "/",
    "../../etc/passwd",
    "ä",
    "模型",
    "\0",
    "a\0b",
    "a b",
    "x" * 300,
]
HOSTILE += ["%2e%2e", "'; DROP TABLE tasks; --", "\r\nX: y", "🦀", "$SYS", "A", "?", "#", "{model}", "-" * 65]
NASTY = [None, True, -1, 0, 2**31, 2**63, 10**30, 1e308, "", "\0", "a.b", "x" * 3000, [], [[]], {}, {"a": {"b": [1]}}]
NASTY_TEXT = [
    "",
    "-1",
    "0",
    "1e9",
    "null",
    "true",
    "\0",
    "a.b",
    "9" * 40,
    "x" * 3000,
    "ä",
    "[]",
    "0001-01-01T00:00:00Z",
]
NAMES = st.one_of(st.sampled_from(HOSTILE), st.text(min_size=1, max_size=300).filter(lambda t: not t.isascii()))
VALUES = st.recursive(st.sampled_from(NASTY), lambda inner: st.lists(inner, max_size=3), max_leaves=4)
PIXELS = {"name": "pixels", "shape": [1, 4], "datatype": "FP32", "data": [1, 2, 3, 4]}
READ_TOO = ("", "text/plain")


class Operation(NamedTuple):
    """A route as the API's own document has it."""

    method: str
    path: str
    facts: dict[str, Any]

    @property
    def name(self) -> str:
        return f"{self.method} {self.path}"

    @property
    def names(self) -> list[str]:
        return re.findall(r"\{(\w+)\}", self.path)

    @property
    def takes_json(self) -> bool:
        return "application/json" in self.facts.get("requestBody", {}).get("content", {})

    @property
    def parameters(self) -> list[dict[str, Any]]:
        return [found for found in self.facts.get("parameters", []) if found["in"] == "query"]

    def url(self, **values: str) -> str:
        given = {name: UNKNOWN.get(name, "unknown") for name in self.names} | values
        return re.sub(r"\{(\w+)\}", lambda match: quote(given[match[1]], safe="").replace(".", "%2E"), self.path)

    def given(self, body: Any = None) -> dict[str, Any]:
        """A good body, or this one."""
        return {"json": BODIES[self.name] if body is None else body} if self.takes_json else {}


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def whole(
    postgres: PostgresServer, passwords: dict[str, str], tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Whole]:
    with fresh_database(postgres, passwords) as urls:
        async with whole_gateway(urls, tmp_path_factory.mktemp("whole")) as started:
            yield started


def operations(whole: Whole) -> Iterator[Operation]:
    for path, methods in whole.openapi["paths"].items():
        for method, facts in methods.items():
            yield Operation(method.upper(), path, facts)


def check(reply: httpx.Response, *statuses: int) -> dict[str, Any]:
    """The problem, which says what is wrong and where."""
    where = f"{reply.request.method} {reply.request.url} -> {reply.status_code} {reply.text[:300]}"
    if reply.request.url.path.startswith("/v1/"):
        return check_openai(reply, where, *statuses)
    assert reply.status_code in statuses, where
    problem: dict[str, Any] = reply.json()
    assert reply.headers["content-type"] == "application/problem+json", where
    assert {"type", "title", "status", "detail", "trace_id"} <= problem.keys(), where
    assert problem["status"] == reply.status_code and len(problem["detail"]) > 10, where
    assert "Traceback" not in reply.text and "asyncpg" not in reply.text, where
    if reply.status_code == 422:
        assert problem.get("field"), where
    return problem


def check_openai(reply: httpx.Response, where: str, *statuses: int) -> dict[str, Any]:
    """The same as OpenAI's clients read it: what is not valid is 400."""
    assert reply.status_code in {400 if status == 422 else status for status in statuses}, where
    error: dict[str, Any] = reply.json()["error"]
    assert error.keys() == {"message", "type", "param", "code"} and len(error["message"]) > 10, where
    assert error["param"] or error["code"] != "invalid_input", where
    return error | {"detail": error["message"]}


def check_flat(reply: httpx.Response, *statuses: int) -> None:
    """The error of the Open Inference Protocol."""
    where = f"{reply.request.method} {reply.request.url} -> {reply.status_code} {reply.text[:300]}"
    assert reply.status_code in statuses, where
    assert len(reply.json()["error"]) > 10, where


async def test_each_route_with_a_body_has_a_good_one_here(whole: Whole) -> None:
    assert {operation.name for operation in operations(whole) if operation.takes_json} == BODIES.keys()


async def test_unknown_things(whole: Whole) -> None:
    for operation in operations(whole):
        if not operation.names:
            continue
        query = {found["name"]: "1" for found in operation.parameters if found.get("required")}
        is_upload = operation.method == "POST" and operation.path.endswith(("/versions", "/imports"))
        has_rows = operation.method == "POST" and operation.path.endswith(
            ("/batches", "/datasets/{name}", "/indexes/{name}")
        )
        given = {"content": b"no model"} if is_upload or has_rows else operation.given()
        values = {"task_id": f"batch-{new_id()}"} if operation.path.endswith("/result") else {}
        reply = await whole.send(operation.method, operation.url(**values), params=query, **given)
        is_redirect = operation.path == "/ops/{service}"
        if not is_redirect:
            check(reply, 422 if is_upload else 404)
    for path in ("/nothing", "/api/v1", "/api/v1/models/", "/api/v2/models", "/v2x", "/api//v1/models"):
        check(await whole.send("GET", path), 404)


async def test_wrong_methods(whole: Whole) -> None:
    known: dict[str, set[str]] = {}
    for operation in operations(whole):
        known.setdefault(operation.path, set()).add(operation.method)
    for path, methods in known.items():
        url = Operation("", path, {}).url()
        for method in sorted(METHODS - methods) + ["OPTIONS", "TRACE"]:
            reply = await whole.send(method, url)
            check(reply, 405)
            assert set(reply.headers["allow"].split(", ")) & methods


FILES = ("/versions", "/imports", "/datasets/{name}", "/indexes/{name}")


@ROUNDS
@given(name=NAMES, pick=ANY)
async def test_hostile_names(whole: Whole, name: str, pick: int) -> None:
    places = [(operation, which) for operation in operations(whole) for which in operation.names]
    operation, which = places[pick % len(places)]
    takes_file = operation.method == "POST" and operation.path.endswith(FILES)
    given = {"content": b"x"} if takes_file else operation.given()
    reply = await whole.send(operation.method, operation.url(**{which: name}), **given)
    check(reply, *((404, 422) if which in ("page", "id", "model") or operation.path.startswith("/v1/") else (422,)))


@ROUNDS
@given(value=st.one_of(st.sampled_from(NASTY_TEXT), st.text(max_size=30)), pick=ANY)
async def test_wrong_values_in_queries(whole: Whole, value: str, pick: int) -> None:
    reads = [found for found in operations(whole) if found.method == "GET"]
    places = [(operation, found["name"]) for operation in reads for found in operation.parameters]
    operation, which = places[pick % len(places)]
    query = {"follow": "false", "other": "1"} | {which: value}
    if which != "follow":
        reply = await whole.send("GET", operation.url(), params=query)
        if reply.status_code != 200:
            check(reply, 404, 422)


async def test_no_query_holds_nul(whole: Whole) -> None:
    for operation in (found for found in operations(whole) if found.method == "GET"):
        for found in operation.parameters:
            reply = await whole.send("GET", operation.url(), params={"follow": "false", found["name"]: "\0"})
            check(reply, 404, 422)


@pytest.mark.parametrize("header", ["Last-Event-ID", "traceparent", "Accept", "X-Correlation-ID"])
async def test_wrong_headers(whole: Whole, header: str) -> None:
    for value in ("-1", "x", "9" * 30, "\xe4", "00-0-0-0", "x" * 3000):
        url = "/api/v1/events?follow=false&correlation_id=c"
        reply = await whole.send("GET", url, headers={header: value.encode("latin-1")})  # type: ignore[arg-type]
        if reply.status_code != 200:
            check(reply, 422)


@pytest.mark.parametrize(
    ("path", "field"),
    [
        ("tasks?limit=0", "limit"),
        ("tasks?limit=1001", "limit"),
        ("tasks?limit=x", "limit"),
        ("tasks?state=asleep", "state"),
        ("tasks?model=a.b.c", "model"),
        ("tasks?cursor=1", "cursor"),
        ("tasks?cursor=99999999999999999_train-0", "cursor"),
        ("predictions?prediction_id=1", "prediction_id"),
        ("predictions?evaluation=perhaps", "evaluation"),
        ("evaluations?version=0", "version"),
        ("evaluations?version=2147483648", "version"),
        ("events?after=-1", "after"),
        ("events?after=9223372036854775808", "after"),
        ("events?since=yesterday", "since"),
        ("events?since=2030-01-01T00:00:00", "since"),
        ("events?follow=false&correlation_id=%00", "correlation_id"),
        ("models/a/versions?limit=201", "limit"),
        ("models?q=%00", "q"),
        ("usage?to=0", "to"),
        ("usage?from=2030-02-30", "from"),
    ],
)
async def test_ranges(whole: Whole, path: str, field: str) -> None:
    assert check(await whole.send("GET", f"/api/v1/{path}"), 422)["field"] == field


@pytest.mark.parametrize(
    ("limits", "field"),
    [
        ([{"quota": "concurrent_tasks"}] * 2, "limits"),
        ([{"quota": "concurrent_tasks", "hard": False}], "limits[0].hard"),
    ],
)
async def test_quotas_that_are_none(whole: Whole, limits: Any, field: str) -> None:
    reply = await whole.send("PUT", "/api/v1/quotas", json={"project": "default", "limits": limits})
    assert check(reply, 422)["field"] == field


@ROUNDS
@given(value=VALUES, pick=ANY)
async def test_wrong_bodies(whole: Whole, value: Any, pick: int) -> None:
    takers = [operation for operation in operations(whole) if operation.takes_json]
    places = [(taker, name) for taker in takers for name in ("", "surplus", *BODIES[taker.name])]
    operation, which = places[pick % len(places)]
    body = {**BODIES[operation.name], which: value} if which else value
    reply = await whole.send(operation.method, operation.url(), content=json.dumps(body), headers=JSON)
    if reply.status_code >= 300:
        check(reply, 404, 409, 422, *OTHERWISE_REFUSED.get(operation.name, ()))


@ROUNDS
@given(config=st.dictionaries(st.sampled_from(["epochs", "seed", "learning_rate", "batch_size", "\0", ""]), VALUES))
async def test_wrong_configs(whole: Whole, config: dict[str, Any]) -> None:
    body = {"kind": "train", "model": MODEL, "config": config | {"surplus": 1}}
    check(await whole.send("POST", "/api/v1/tasks", json=body), 422)


BROKEN = {
    "broken": b'{"kind": "train", ',
    "empty": b"",
    "deep list": b"[" * 100_000,
    "deep object": b'{"a":' * 5000 + b"1" + b"}" * 5000,
    "deep config": b'{"kind":"train","model":"x","config":' + b'{"a":' * 400 + b"1" + b"}" * 401,
    "not UTF-8": b'{"kind": "\xff\xfe"}',
    "UTF-16": '{"kind": "train"}'.encode("utf-16"),
    "surrogate": b'{"kind":"train","model":"x","config":{"a":"\\ud800"}}',
    "not a number": b'{"kind":"train","model":"digits-cnn","config":{"learning_rate":NaN}}',
    "infinite": b'{"kind":"train","model":"digits-cnn","config":{"learning_rate":Infinity}}',
    "huge number": b'{"kind":"train","model":"x","config":{"epochs":' + b"9" * 10_000 + b"}}",
    "key twice": b'{"kind":"cook","kind":"train","kind":"cook"}',
    "null": b"null",
    "two documents": b"{}{}",
}


@pytest.mark.parametrize("what", BROKEN)
async def test_broken_bodies(whole: Whole, what: str) -> None:
    for operation in operations(whole):
        if operation.takes_json and not (what == "key twice" and operation.path != "/api/v1/tasks"):
            reply = await whole.send(operation.method, operation.url(), content=BROKEN[what], headers=JSON)
            may_be_left_out = what in ("empty", "null") and operation.path.endswith("/rotate")
            is_looked_up = may_be_left_out or "config" in BROKEN[what].decode("latin-1")
            check(reply, 400, 422, *((404,) if is_looked_up else ()))


@pytest.mark.parametrize("kind", ["text/plain", "application/xml", "multipart/form-data", "a/b; charset=\xff", ""])
async def test_wrong_content_types(whole: Whole, kind: str) -> None:
    for operation in operations(whole):
        if operation.takes_json:
            content = json.dumps(BODIES[operation.name]).encode()
            headers = {"Content-Type": kind.encode("latin-1")}
            reply = await whole.send(operation.method, operation.url(), content=content, headers=headers)  # type: ignore[arg-type]
            check(reply, 415, 422, *((404,) if kind in READ_TOO and "/predict/" in operation.path else ()))


async def test_bodies_over_the_limit(whole: Whole) -> None:
    async def chunks() -> AsyncIterator[bytes]:
        for _ in range(BODY_LIMIT // 4096 + 1):
            yield b" " * 4096

    for operation in operations(whole):
        if operation.takes_json:
            for content in (b" " * (BODY_LIMIT + 1), chunks()):
                sent = await whole.send(operation.method, operation.url(), content=content, headers=JSON)
                assert str(BODY_LIMIT) in check(sent, 413)["detail"]


class TestOpenInference:
    """The same for clients of the Open Inference Protocol, who read a flat error."""

    INFER = f"/v2/models/{MODEL}/infer"

    async def test_a_good_request(self, whole: Whole) -> None:
        reply = await whole.send("POST", self.INFER, json={"inputs": [PIXELS]})
        assert reply.json()["outputs"][0]["data"] == [10]

    @ROUNDS
    @given(name=NAMES, pick=ANY)
    async def test_hostile_names(self, whole: Whole, name: str, pick: int) -> None:
        text = quote(name, safe="").replace(".", "%2E")
        ends = (
            f"{text}",
            f"{text}/ready",
            f"{MODEL}/versions/{text}",
            f"{text}/infer",
            f"{MODEL}/versions/{text}/infer",
        )
        end = ends[pick % len(ends)]
        method, given = ("POST", {"json": {"inputs": [PIXELS]}}) if end.endswith("infer") else ("GET", {})
        check_flat(await whole.send(method, f"/v2/models/{end}", **given), 400, 404)

    @ROUNDS
    @given(field=st.sampled_from(["name", "shape", "datatype", "data", "parameters"]), value=VALUES)
    async def test_wrong_tensors(self, whole: Whole, field: str, value: Any) -> None:
        tensor = PIXELS | {field: value}
        reply = await whole.send("POST", self.INFER, content=json.dumps({"inputs": [tensor]}), headers=JSON)
        if not (reply.status_code == 200 and field == "parameters"):
            check_flat(reply, 400)

    @pytest.mark.parametrize("what", BROKEN)
    async def test_broken_bodies(self, whole: Whole, what: str) -> None:
        check_flat(await whole.send("POST", self.INFER, content=BROKEN[what]), 400)

    async def test_the_rest(self, whole: Whole) -> None:
        check_flat(await whole.send("POST", self.INFER, content=b" " * 2 * 1024 * 1024), 413)
        for length in ("-1", "x", "99999999999", "1"):
            headers = {"Inference-Header-Content-Length": length}
            check_flat(await whole.send("POST", self.INFER, json={"inputs": [PIXELS]}, headers=headers), 400)
        for method in ("GET", "PUT", "DELETE", "OPTIONS"):
            check_flat(await whole.send(method, self.INFER), 405)
        check_flat(await whole.send("GET", "/v2/nothing"), 404)
        check_flat(await whole.send("GET", "/v2/models/unknown"), 404)
        for path in ("models//", "models//ready", f"models/{MODEL}/versions//", f"models/{MODEL}/versions//ready"):
            check_flat(await whole.send("GET", f"/v2/{path}"), 404)
