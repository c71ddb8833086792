"""The gateway's control API and its memory of keys, on a real bus with its own allow-lists."""

import asyncio
import json
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from prometheus_client import REGISTRY

from deploy.embedded.ports import free_port
from deploy.provision import provision_bus_over
from services.gateway.handlers import HANDLERS
from shared.context import Context
from shared.credentials import key_digest
from shared.envelope import Envelope
from shared.errors import Conflict, NotFound, Unavailable
from shared.events.training import EpochCompleted, TrainingCompleted
from shared.names import new_id
from shared.permissions import Role
from shared.rpc.auth import ApiKeyCreated
from shared.rpc.monitor import TaskList, Timeline, TimelineEntry
from shared.rpc.registry import ModelList, ModelView, VersionView
from shared.rpc.tasks import MetricPoints, TaskView
from shared.rpc.trainer import Library, LibraryMember, TaskAccepted, TaskInsights
from shared.streams import REVOKED_SUBJECT, log_subject
from shared.tasks.terms import Terms
from tests.integration.gateway_neighbours import Gateway, Stream, bearer, running_gateway
from tests.integration.running import guarded_bus, until

TASK = f"train-{new_id()}"
TRACE = "0af7651916cd43dd8448eb211c80319c"


@pytest.fixture
def stale_seconds() -> float:
    """How long the gateway trusts credentials that it could not compare."""
    return 60


@pytest.fixture
async def gateway(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, stale_seconds: float) -> AsyncIterator[Gateway]:
    port = free_port()
    with guarded_bus(tmp_path / "nats", HANDLERS) as server:
        monkeypatch.setenv("GATEWAY_NATS_URL", server.servers)
        monkeypatch.setenv("GATEWAY_NATS_PASSWORD", "password")
        monkeypatch.setenv("GATEWAY_PORT", str(port))
        monkeypatch.setenv("GATEWAY_CREDENTIALS_STALE_SECONDS", str(stale_seconds))
        await provision_bus_over(server.url, [HANDLERS.declaration])
        async with running_gateway(server, f"http://127.0.0.1:{port}") as started:
            yield started


@pytest.fixture
async def admin(gateway: Gateway) -> str:
    key = await gateway.make_key()
    await gateway.becomes(key, 200)
    return key


def task(state: str = "running") -> TaskView:
    return TaskView(id=TASK, project="default", kind="train", model="digits-cnn", state=state)


class TestKeys:
    """What the gateway knows of keys, and for how long."""

    async def test_a_key_is_known_until_it_is_revoked(self, gateway: Gateway) -> None:
        key = await gateway.make_key()
        await gateway.becomes(key, 200)
        await gateway.put(key, b"", {"KV-Operation": "DEL"})
        await gateway.becomes(key, 401)

    async def test_a_broadcast_revokes_at_once(self, gateway: Gateway, admin: str) -> None:
        await gateway.connection.publish(REVOKED_SUBJECT, key_digest(admin).encode())
        await gateway.becomes(admin, 401)

    async def test_keys_expire(self, gateway: Gateway) -> None:
        key = await gateway.make_key()
        await gateway.becomes(key, 200)
        await gateway.put_key(key, expires_at=datetime.now(UTC) + timedelta(seconds=1))
        await gateway.becomes(key, 401)
        assert "expired" in (await gateway.http.get("/v2", headers=bearer(key))).json()["error"]

    async def test_unreadable_entries_let_nobody_in_and_harm_no_others(self, gateway: Gateway) -> None:
        await gateway.put("aim_broken", b'{"roles": ["emperor"]}')
        key = await gateway.make_key()
        await gateway.becomes(key, 200)
        assert await gateway.status("aim_broken") == 401

    async def test_a_new_bucket_replaces_all(self, gateway: Gateway, admin: str) -> None:
        await gateway.connection.jetstream().delete_stream("KV_credentials")
        await provision_bus_over(gateway.server.url, [])
        key = await gateway.make_key()
        await gateway.becomes(key, 200)
        assert await gateway.status(admin) == 401

    async def test_entries_that_vanish_are_noticed(self, gateway: Gateway, admin: str) -> None:
        await gateway.connection.jetstream().purge_stream("KV_credentials")
        await gateway.becomes(admin, 401)

    @pytest.mark.parametrize("stale_seconds", [1])
    async def test_it_survives_the_brokers_restart(self, gateway: Gateway, admin: str) -> None:
        gateway.server.kill()
        reply = await gateway.http.get("/api/v1/models", headers=bearer(admin))
        assert (reply.status_code, reply.headers["retry-after"]) == (503, "1")
        await gateway.becomes(admin, 503)
        assert "compared" in (await gateway.http.get("/v2", headers=bearer(admin))).json()["error"]
        assert (await gateway.http.get("/v2/health/live")).status_code == 200
        assert (await gateway.http.get("/v2/health/ready")).status_code == 503
        gateway.server.start()
        await gateway.becomes(admin, 200)
        key = await gateway.make_key(Role.VIEWER)
        await gateway.becomes(key, 200)
        await gateway.connection.publish(REVOKED_SUBJECT, key_digest(key).encode())
        await gateway.becomes(key, 401)
        await gateway.becomes(key, 200, "/v2/health/ready")


class TestControl:
    """Requests become requests on the bus; replies and errors come back as documents."""

    async def test_a_task_is_submitted_in_the_callers_name(self, gateway: Gateway, admin: str) -> None:
        gateway.neighbours.answers["submit_task"] = TaskAccepted(id=TASK, correlation_id="c")
        headers = bearer(admin) | {"Idempotency-Key": "k1", "traceparent": f"00-{TRACE}-b7ad6b7169203331-01"}
        training = {"clip_norm": 1.0}
        body = {"kind": "train", "model": "digits-cnn", "config": {"epochs": 2}, "training": training}
        reply = await gateway.http.post("/api/v1/tasks", json=body, headers=headers)
        assert reply.status_code == 202
        assert reply.headers["location"] == f"/api/v1/tasks/{TASK}"
        asked = gateway.neighbours.asked[-1]
        context = Context.from_headers(asked.headers)
        assert asked.subject == "rpc.trainer.submit_task"
        wanted = {"model": "digits-cnn", "config": {"epochs": 2}, "training": training}
        terms = Terms().model_dump(mode="json")
        assert asked.body == wanted | {"auto_promote": True, "dataset": None, "terms": terms}
        assert (context.project, context.actor, context.idempotency_key) == ("default", "key-admin", "k1")
        assert context.traceparent.split("-")[1] == TRACE
        assert context.correlation_id == reply.headers["x-correlation-id"]

    async def test_one_task_is_asked_of_its_owner_and_lists_of_monitor(self, gateway: Gateway, admin: str) -> None:
        gateway.neighbours.answers |= {
            "get_task": task(),
            "cancel_task": task("cancelled"),
            "get_task_metrics": MetricPoints(),
            "list_tasks": TaskList(tasks=[task()]),
            "get_insights": TaskInsights(),
        }
        evaluation = TASK.replace("train", "evaluate")
        for method, path, subject in (
            ("GET", f"/tasks/{TASK}", "rpc.trainer.get_task"),
            ("GET", f"/tasks/{evaluation}", "rpc.evaluator.get_task"),
            ("POST", f"/tasks/{TASK}/cancel", "rpc.trainer.cancel_task"),
            ("GET", f"/tasks/{TASK}/metrics", "rpc.trainer.get_task_metrics"),
            ("GET", f"/tasks/{TASK}/insights?epoch=3", "rpc.trainer.get_insights"),
            ("GET", "/tasks?kind=train&state=running&limit=5", "rpc.monitor.list_tasks"),
        ):
            reply = await gateway.http.request(method, f"/api/v1{path}", headers=bearer(admin))
            assert (reply.status_code, gateway.neighbours.asked[-1].subject) == (200, subject)
        assert gateway.neighbours.asked[-1].body["state"] == "running"

    async def test_a_training_is_reproduced_in_the_callers_name(self, gateway: Gateway, admin: str) -> None:
        gateway.neighbours.answers["reproduce_task"] = TaskAccepted(id=TASK)
        headers = bearer(admin) | {"Idempotency-Key": "k2"}
        reply = await gateway.http.post(f"/api/v1/tasks/{TASK}/reproduce", headers=headers)
        assert (reply.status_code, reply.headers["location"]) == (202, f"/api/v1/tasks/{TASK}")
        asked = gateway.neighbours.asked[-1]
        assert (asked.subject, asked.body) == ("rpc.trainer.reproduce_task", {"task_id": TASK})
        assert Context.from_headers(asked.headers).idempotency_key == "k2"

    async def test_the_library_and_models(self, gateway: Gateway, admin: str) -> None:
        member = LibraryMember(name="digits-cnn", task_type="image", dataset="digits", config_schema={})
        version = VersionView(model="digits-cnn", version=2, digest="0" * 64)
        gateway.neighbours.answers |= {
            "list_library": Library(members=[member]),
            "list_models": ModelList(models=[ModelView(name="digits-cnn", project="default")]),
            "set_alias": version,
        }
        get = gateway.http.get
        assert (await get("/api/v1/library/digits-cnn", headers=bearer(admin))).json()["dataset"] == "digits"
        assert (await get("/api/v1/library/nothing", headers=bearer(admin))).status_code == 404
        assert (await get("/api/v1/models", headers=bearer(admin))).json()["models"][0]["name"] == "digits-cnn"
        path = "/api/v1/models/digits-cnn/aliases/champion"
        reply = await gateway.http.put(path, json={"version": 2, "expected": 1}, headers=bearer(admin))
        assert reply.json()["version"] == 2
        asked = {"model": "digits-cnn", "alias": "champion", "version": 2, "expected": 1, "force": False, "reason": ""}
        assert gateway.neighbours.asked[-1].body == asked

    async def test_a_secret_is_answered_once_and_not_cached(self, gateway: Gateway, admin: str) -> None:
        made = ApiKeyCreated(id=new_id(), name="ci", project="default", roles=[Role.VIEWER], prefix="aim_1", secret="s")
        gateway.neighbours.answers["create_api_key"] = made
        reply = await gateway.http.post(
            "/api/v1/api-keys", json={"name": "ci", "roles": ["viewer"]}, headers=bearer(admin)
        )
        assert (reply.status_code, reply.json()["secret"], reply.headers["cache-control"]) == (201, "s", "no-store")

    async def test_errors_are_problem_documents(self, gateway: Gateway, admin: str) -> None:
        for error in (
            NotFound("no such model", field="model"),
            Conflict("the champion changed meanwhile"),
            Unavailable("the database is not reachable now", retry_after=3),
        ):
            gateway.neighbours.answers["get_model"] = error
            reply = await gateway.http.get("/api/v1/models/digits-cnn", headers=bearer(admin))
            problem = reply.json()
            assert reply.headers["content-type"] == "application/problem+json"
            assert (reply.status_code, problem["status"], problem["detail"]) == (error.status,) * 2 + (error.message,)
            assert (problem["type"], problem.get("field")) == (f"urn:aimass:problem:{error.code}", error.field)
            assert problem["title"] and len(problem["trace_id"]) == 32
            assert reply.headers.get("retry-after") == (error.retry_after and str(error.retry_after))

    async def test_a_reply_that_cannot_be_read_is_our_error(self, gateway: Gateway, admin: str) -> None:
        gateway.neighbours.answers["get_model"] = TaskList()
        reply = await gateway.http.get("/api/v1/models/digits-cnn", headers=bearer(admin))
        assert (reply.status_code, reply.headers["content-type"]) == (500, "application/problem+json")
        assert "validation" not in reply.text

    async def test_a_service_that_does_not_run_is_unavailable(self, gateway: Gateway, admin: str) -> None:
        await gateway.connection.drain()
        reply = await gateway.http.get("/api/v1/models/digits-cnn", headers=bearer(admin))
        assert (reply.status_code, reply.headers["retry-after"]) == (503, "1")
        assert "registry is not running" in reply.json()["detail"]

    async def test_what_is_not_valid_names_its_field(self, gateway: Gateway, admin: str) -> None:
        """Method, path, body and headers, and the field that the answer names."""
        ok = {"kind": "train", "model": "x"}
        for method, path, body, headers, field in (
            ("POST", "/tasks", {"kind": "train", "model": "../x"}, {}, "model"),
            ("POST", "/tasks", {"kind": "cook", "model": "x"}, {}, "kind"),
            ("POST", "/tasks", ok | {"confg": {}}, {}, "confg"),
            ("POST", "/tasks", ok, {"Idempotency-Key": "a b"}, "Idempotency-Key"),
            ("POST", "/tasks", ok | {"training": {"clip_norm": -1}}, {}, "training.clip_norm"),
            ("POST", "/tasks", ok | {"training": {"early_stopping": {}}}, {}, "training.early_stopping.patience"),
            ("GET", f"/tasks/{TASK}/insights?epoch=-1", None, {}, "epoch"),
            ("GET", f"/tasks/{TASK.replace('train', 'evaluate')}/insights", None, {}, "task_id"),
            ("POST", "/tasks", None, {}, "body"),
            ("GET", "/tasks?limit=0", None, {}, "limit"),
            ("GET", "/tasks/train-*", None, {}, "task_id"),
            ("GET", "/models/a*b", None, {}, "model"),
            ("GET", "/models/a/versions/0", None, {}, "version"),
            ("GET", "/events?type=VersionPromotd", None, {}, "type"),
            ("GET", "/events?folow=false", None, {}, "folow"),
            ("GET", "/events?limit=3", None, {}, "limit"),
            ("GET", "/events?follow=false&after=4&before=3", None, {}, "before"),
        ):
            reply = await gateway.http.request(method, f"/api/v1{path}", json=body, headers=bearer(admin) | headers)
            assert (path, reply.status_code, reply.json()["field"]) == (path, 422, field)
        headers = bearer(admin) | {"Content-Type": "application/json"}
        reply = await gateway.http.post("/api/v1/tasks", content=b"{", headers=headers)
        assert (reply.status_code, reply.json()["field"]) == (422, "body")
        assert gateway.neighbours.asked == []

    async def test_hostile_bodies(self, gateway: Gateway, admin: str) -> None:
        async def chunks() -> AsyncIterator[bytes]:
            for _ in range(1100):
                yield b" " * 1024

        headers = bearer(admin) | {"Content-Type": "application/json"}
        for content in (b" " * (1024 * 1024 + 1), chunks()):
            reply = await gateway.http.post("/api/v1/tasks", content=content, headers=headers)
            assert (reply.status_code, "1048576" in reply.json()["detail"]) == (413, True)
        for content in (b"[" * 100_000, b"\xff\xfe", b'"\\ud800"', b"null"):
            reply = await gateway.http.post("/api/v1/tasks", content=content, headers=headers)
            assert reply.status_code in (400, 422)
        surrogate = b'{"kind":"train","model":"x","config":{"a":"\\ud800"}}'
        reply = await gateway.http.post("/api/v1/tasks", content=surrogate, headers=headers)
        assert (reply.status_code, "Unicode" in reply.json()["detail"]) == (422, True)

    async def test_metrics_have_few_labels(self, gateway: Gateway, admin: str) -> None:
        gateway.neighbours.answers["get_model"] = NotFound("no")
        for name in ("a", "b"):
            await gateway.http.get(f"/api/v1/models/{name}", headers=bearer(admin))
        labels = {"route": "/api/v1/models/{model}", "method": "GET", "status": "404"}
        assert (REGISTRY.get_sample_value("aimass_http_request_seconds_count", labels) or 0) >= 2
        routes = {s.labels["route"] for m in REGISTRY.collect() for s in m.samples if "route" in s.labels}
        assert not [route for route in routes if "aim_" in route or route.endswith("/a")]


async def say(gateway: Gateway, event: Any, correlation_id: str, project: str = "default") -> int:
    envelope = Envelope(event.type_name(), "trainer", event.aggregate, correlation_id=correlation_id)
    body = event.model_dump_json().encode()
    ack = await gateway.connection.jetstream().publish(event.subject(project), body, headers=envelope.to_headers())
    return int(ack.seq)


class TestStreams:
    """Logs and events that go on."""

    async def test_events_from_the_beginning_of_a_chain_and_on(self, gateway: Gateway, admin: str) -> None:
        chain = new_id()
        await say(gateway, TrainingCompleted(task_id="other"), new_id())
        first = await say(gateway, EpochCompleted(task_id=TASK, epoch=1), chain)
        async with Stream(gateway, f"/events?correlation_id={chain}", admin) as stream:
            event = await stream.next()
            assert event and (event["id"], event["data"]["type"]) == (str(first), EpochCompleted.type_name())
            assert event["data"]["data"]["epoch"] == 1 and event["data"]["correlation_id"] == chain
            second = await say(gateway, EpochCompleted(task_id=TASK, epoch=2), chain)
            await say(gateway, EpochCompleted(task_id=TASK, epoch=2), chain, project="another")
            event = await stream.next()
            assert event and event["id"] == str(second)
        path = f"/events?correlation_id={chain}&type=EpochCompleted"
        async with Stream(gateway, path, admin, **{"Last-Event-ID": str(first)}) as stream:
            event = await stream.next()
            assert event and event["id"] == str(second)

    async def test_events_by_subject_and_from_a_time_or_a_sequence(self, gateway: Gateway, admin: str) -> None:
        before = await say(gateway, TrainingCompleted(task_id="a"), new_id())
        await asyncio.sleep(0.05)
        since = quote(datetime.now(UTC).isoformat())
        await say(gateway, EpochCompleted(task_id="a"), new_id())
        other = await say(gateway, TrainingCompleted(task_id="b"), new_id())
        last = await say(gateway, TrainingCompleted(task_id="a"), new_id())
        for query, expected in (
            (f"after={before}", before + 1),
            (f"since={since}&type=TrainingCompleted", other),
            (f"after={before}&subject=training/b", other),
            (f"since={since}&subject=training&type={TrainingCompleted.type_name()}", other),
            (f"since=1970-01-01T00:00:00Z&after={other}", last),
            ("since=0001-01-01T00:00:00%2B10:00", before),
        ):
            async with Stream(gateway, f"/events?{query}", admin) as stream:
                event = await stream.next()
                assert (query, event and event["id"]) == (query, str(expected))

    async def test_events_from_now_on_survive_the_brokers_restart(self, gateway: Gateway, admin: str) -> None:
        await say(gateway, TrainingCompleted(task_id="before"), new_id())
        async with Stream(gateway, "/events", admin) as stream:
            gateway.server.kill()
            gateway.server.start()
            await until(lambda: is_connected_again(gateway))
            await say(gateway, TrainingCompleted(task_id="after"), new_id())
            event = await stream.next()
            assert event and event["data"]["data"]["task_id"] == "after"

    async def test_a_stream_ends_with_its_key(self, gateway: Gateway, admin: str) -> None:
        async with Stream(gateway, "/events", admin) as stream:
            await gateway.connection.publish(REVOKED_SUBJECT, key_digest(admin).encode())
            assert await stream.next() is None

    async def test_a_timeline_is_asked_of_monitor(self, gateway: Gateway, admin: str) -> None:
        at = datetime.now(UTC)
        entries = [
            TimelineEntry(id=name, type=name, source="s", subject="s", sequence=1, at=at)
            for name in ("aimass.training.v1.EpochCompleted", "aimass.models.v1.VersionPromoted")
        ]
        gateway.neighbours.answers["get_timeline"] = Timeline(correlation_id="c", events=entries)
        for kind, count in (("", 2), ("VersionPromoted", 1), ("ModelArchived", 0)):
            path = f"/api/v1/events?follow=false&correlation_id=c&type={kind}"
            assert len((await gateway.http.get(path, headers=bearer(admin))).json()["events"]) == count

    async def test_logs_are_read_and_followed_to_the_tasks_end(self, gateway: Gateway, admin: str) -> None:
        gateway.neighbours.answers["get_task"] = task()
        for number in range(3):
            await log(gateway, f"line {number}")
        path = f"/api/v1/tasks/{TASK}/logs"
        page = (await gateway.http.get(f"{path}?limit=2", headers=bearer(admin))).json()
        assert [line["line"] for line in page["lines"]] == ["line 0", "line 1"]
        page = (await gateway.http.get(f"{path}?after={page['after']}", headers=bearer(admin))).json()
        assert [line["line"] for line in page["lines"]] == ["line 2"]
        async with Stream(gateway, f"/tasks/{TASK}/logs?follow=true", admin) as stream:
            seen = [await stream.next() for _ in range(3)]
            await log(gateway, "line 3")
            gateway.neighbours.answers["get_task"] = task("succeeded")
            seen.append(await stream.next())
            assert [event and event["data"]["line"] for event in seen] == [f"line {n}" for n in range(4)]
            end = await stream.next()
            assert end and (end["event"], end["data"]["state"]) == ("end", "succeeded")
            assert await stream.next() is None
        last = str(seen[1] and seen[1]["id"])
        async with Stream(gateway, f"/tasks/{TASK}/logs?follow=true", admin, **{"Last-Event-ID": last}) as stream:
            again = [await stream.next() for _ in range(2)]
            assert [event and event["data"]["line"] for event in again] == ["line 2", "line 3"]

    async def test_logs_of_no_task(self, gateway: Gateway, admin: str) -> None:
        gateway.neighbours.answers["get_task"] = NotFound("there is no such task")
        for path in ("logs", "logs?follow=true"):
            reply = await gateway.http.get(f"/api/v1/tasks/{TASK}/{path}", headers=bearer(admin))
            assert reply.status_code == 404


async def is_connected_again(gateway: Gateway) -> bool:
    return gateway.connection.stats["reconnects"] > 0 and gateway.connection.is_connected


async def log(gateway: Gateway, line: str) -> None:
    body = json.dumps({"at": 1.5, "stream": "stdout", "line": line, "attempt": 1}).encode()
    await gateway.connection.jetstream().publish(log_subject("default", TASK), body)
