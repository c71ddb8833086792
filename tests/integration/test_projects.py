"""Projects as tenants: made with an administrator, archived and restored, entered by login; models that are shared."""

import io
import wave
from collections.abc import AsyncIterator
from typing import Any, NamedTuple

import httpx
import pytest
import pytest_asyncio

from deploy.embedded.testing_servers import PostgresServer
from services.auth.bootstrap import BucketKeeper
from services.gateway.credentials import BUCKET
from services.gateway.metering import Counters, Key
from services.inference.search import store as indexes
from services.registry import store
from services.registry.holding import Holding
from shared import frames
from shared.artifacts import Artifacts
from shared.context import Context
from shared.names import new_id
from shared.permissions import Role
from shared.rpc.registry import RegisterDataset
from tests.conftest import fresh_database
from tests.integration.access_entries import PIXELS
from tests.integration.gateway_neighbours import bearer, echo
from tests.integration.running import until
from tests.integration.two_projects import Furnishing, make_keys
from tests.integration.whole_gateway import Whole, whole_gateway

pytestmark = pytest.mark.asyncio(loop_scope="module")
API = "/api/v1"
LATER = {"Prefer": "respond-async"}


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def whole(
    postgres: PostgresServer, passwords: dict[str, str], tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Whole]:
    with fresh_database(postgres, passwords) as urls:
        async with whole_gateway(urls, tmp_path_factory.mktemp("whole")) as started:
            yield started


async def make(whole: Whole, name: str, **given: Any) -> dict[str, Any]:
    reply = await whole.send("POST", f"{API}/projects", json={"name": name} | given)
    assert reply.status_code == 201, reply.text
    assert reply.headers["cache-control"] == "no-store"
    made: dict[str, Any] = reply.json()
    return made


async def becomes(whole: Whole, key: str, status: int, path: str = f"{API}/models") -> httpx.Response:
    async def so() -> httpx.Response | None:
        reply = await whole.http.get(path, headers=bearer(key))
        return reply if reply.status_code == status else None

    found: httpx.Response = await until(so)
    return found


async def archive(whole: Whole, name: str, archived: bool) -> dict[str, Any]:
    reply = await whole.send("PATCH", f"{API}/projects/{name}", json={"archived": archived})
    assert reply.status_code == 200, reply.text
    changed: dict[str, Any] = reply.json()
    return changed


async def names(whole: Whole, key: str | None = None) -> list[str]:
    reply = await whole.send("GET", f"{API}/projects", **({"headers": bearer(key)} if key else {}))
    return [project["name"] for project in reply.json()["projects"]]


async def test_a_project_begins_with_a_key_that_is_shown_once(whole: Whole) -> None:
    made = await make(whole, "blue", title="The blue one")
    assert made["secret"].startswith("aim_") and not made["password"]
    me = (await becomes(whole, made["secret"], 200, f"{API}/me")).json()
    assert (me["project"], me["id"]) == ("blue", made["key_id"])
    shown = (await whole.send("GET", f"{API}/projects/blue")).json()
    assert shown["title"] == "The blue one" and "secret" not in shown
    keys = (await whole.send("GET", f"{API}/api-keys", headers=bearer(made["secret"]))).json()["keys"]
    assert [key["id"] for key in keys] == [made["key_id"]]
    assert "default" in await names(whole) and "blue" in await names(whole)
    again = await whole.send("POST", f"{API}/projects", json={"name": "blue"})
    assert (again.status_code, again.json()["field"]) == (409, "name")


async def test_its_administrators_manage_it_and_see_no_other(whole: Whole) -> None:
    key = (await make(whole, "green"))["secret"]
    await becomes(whole, key, 200)
    assert await names(whole, key) == ["green"]
    headers = bearer(key)
    titled = await whole.send("PATCH", f"{API}/projects/green", headers=headers, json={"title": "Ours"})
    assert titled.json()["title"] == "Ours"
    for method, path, status in (
        ("GET", "projects/default", 404),
        ("GET", "projects/blue", 404),
        ("PATCH", "projects/default", 404),
        ("PATCH", "projects/nowhere", 404),
        ("PATCH", "projects/green", 403),
        ("POST", "projects", 403),
    ):
        body = None if method == "GET" else {"name": "n"} if method == "POST" else {"archived": True}
        reply = await whole.send(method, f"{API}/{path}", headers=headers, **({"json": body} if body else {}))
        assert reply.status_code == status, f"{method} {path}: {reply.text}"


async def test_an_archived_project_lets_nobody_in_until_it_is_restored(whole: Whole) -> None:
    made = await make(whole, "old", user="olga")
    login = {"name": "olga", "password": made["password"]}
    token = (await whole.send("POST", f"{API}/login", json=login)).json()["access_token"]
    key = (await make_keys(whole, "old"))[Role.ENGINEER]
    await becomes(whole, token, 200)
    first = (await archive(whole, "old", True))["archived_at"]
    for given in (token, key):
        assert "is archived" in (await becomes(whole, given, 403)).json()["detail"]
        assert (await whole.http.get("/v2", headers=bearer(given))).status_code == 403
    refused = await whole.send("POST", f"{API}/login", json=login)
    assert refused.status_code == 403 and "old" in refused.json()["detail"]
    assert (await archive(whole, "old", True))["archived_at"] == first
    assert (await archive(whole, "old", False))["archived_at"] is None
    for given in (token, key):
        await becomes(whole, given, 200)
    kept = await whole.send("PATCH", f"{API}/projects/default", json={"archived": True})
    assert kept.status_code == 409


async def test_a_user_enters_the_own_project_alone(whole: Whole) -> None:
    made = await make(whole, "ivory", user="ida")
    login = {"name": "ida", "password": made["password"]}
    for project in ("ivory", None):
        token = (await whole.send("POST", f"{API}/login", json=login | {"project": project})).json()["access_token"]
        assert (await becomes(whole, token, 200, f"{API}/me")).json()["project"] == "ivory"
    for project in ("default", "nowhere"):
        reply = await whole.send("POST", f"{API}/login", json=login | {"project": project})
        assert reply.status_code == 403 and "access_token" not in reply.text
    wrong = await whole.send("POST", f"{API}/login", json={"name": "ida", "password": "x", "project": "default"})
    assert wrong.status_code == 401


async def test_it_is_told(whole: Whole) -> None:
    """In the audit of the platform, and of a share in that of its project."""

    async def audited() -> set[str]:
        entries = (await whole.send("GET", f"{API}/audit", params={"limit": "1000"})).json()["entries"]
        found = {entry["type"].rpartition(".")[2] for entry in entries}
        return found if {"ProjectArchived", "ProjectRestored", "ProjectCreated"} <= found else set()

    assert await until(audited)
    secrets = [await make(whole, "quiet"), await make(whole, "quiet2", user="quentin")]
    events = (await whole.send("GET", f"{API}/audit", params={"limit": "1000"})).text
    assert not any(each["secret"] and each["secret"] in events for each in secrets)


async def test_the_bucket_gets_back_what_it_lost(whole: Whole) -> None:
    made = await make(whole, "lost")
    await becomes(whole, made["secret"], 200)
    await archive(whole, "lost", True)
    await becomes(whole, made["secret"], 403)
    auth = whole.services["auth"]
    assert auth.relay
    bucket = whole.neighbours.connection.jetstream()
    await bucket.purge_stream(BUCKET, subject="$KV.credentials.project.lost")
    await becomes(whole, made["secret"], 200)
    await BucketKeeper(auth.relay.work, lambda: auth.bus.js).refill()
    await becomes(whole, made["secret"], 403)


async def test_a_full_project_brings_no_files_until_there_is_room(whole: Whole) -> None:
    secret = (await make(whole, "full"))["secret"]
    await becomes(whole, secret, 200)
    registry, trainer = whole.services["registry"], whole.services["trainer"]
    assert registry.database and registry.relay
    artifacts = Artifacts(registry.settings.artifacts_url)
    data = ("thing", await artifacts.put(b"x" * 100))
    await trainer.bus.ask(
        RegisterDataset(name=data[0], digest=data[1], parts={"all": data[1]}), Context(project="full")
    )
    quotas = {"project": "full", "limits": [{"quota": "storage_bytes", "hard": 100}]}
    assert (await whole.send("PUT", f"{API}/quotas", json=quotas)).status_code == 200
    holding = Holding(registry.database, registry.relay, artifacts, 0)

    async def comes_to(status: int, path: str = "datasets/mine?like=digits") -> httpx.Response:
        """One file that is brought again and again; the first that is taken stays the only one."""
        given = {"headers": bearer(secret) | {"Idempotency-Key": "one"}, "content": b"a,label\n1,x\n"}

        async def so() -> httpx.Response | None:
            reply = await whole.send("POST", f"{API}/{path}", **given)
            return reply if reply.status_code == status else None

        found: httpx.Response = await until(so)
        return found

    await comes_to(202)
    await holding.look()
    refused = await comes_to(429)
    assert "storage_bytes" in refused.json()["detail"] and "delete versions" in refused.json()["detail"]
    assert "retry-after" not in refused.headers, "room comes by what is deleted, not by itself"
    for path in ("models/m/versions", "models/m/batches", "indexes/i?model=m"):
        await comes_to(429, path)
    async with registry.database.transaction() as tx:
        await store.delete_datasets(tx, [("full", *data)])
    await holding.look()
    await comes_to(202)


class Sharing:
    """The project `violet` with a model, and a key of `pink`, which has nothing."""

    def __init__(self, whole: Whole, owner: str, other: str) -> None:
        self.whole, self.owner, self.other = whole, bearer(owner), bearer(other)
        self.root, self.name = f"{API}/models/violet-thing/shares", "violet.violet-thing"

    async def share(self, shared_to: str, level: str) -> dict[str, Any]:
        body = {"shared_to": shared_to, "level": level}
        reply = await self.whole.send("POST", self.root, headers=self.owner, json=body)
        assert reply.status_code == 201, reply.text
        made: dict[str, Any] = reply.json()
        return made

    async def unshare(self, share_id: str) -> None:
        assert (await self.whole.send("DELETE", f"{self.root}/{share_id}", headers=self.owner)).status_code == 204

    async def status(self, way: str) -> int:
        method, path, given = {
            "model": ("GET", f"{API}/models/{self.name}", {}),
            "versions": ("GET", f"{API}/models/{self.name}/versions", {}),
            "version": ("GET", f"{API}/models/{self.name}/versions/1", {}),
            "metadata": ("GET", f"/v2/models/{self.name}", {}),
            "infer": ("POST", f"/v2/models/{self.name}/infer", {"json": PIXELS}),
            "predict": ("POST", f"{API}/predict/{self.name}", {"json": {"items": [[1, 2, 3, 4]]}}),
        }[way]
        return (await self.whole.http.request(method, path, headers=self.other, **given)).status_code

    async def becomes(self, read: int, infer: int) -> None:
        ways = dict.fromkeys(("model", "versions", "version", "metadata"), read)
        for way, expected in (ways | dict.fromkeys(("infer", "predict"), infer)).items():

            async def is_so(way: str = way, expected: int = expected) -> bool:
                return await self.status(way) == expected

            await until(is_so)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def sharing(whole: Whole) -> Sharing:
    owner = (await make(whole, "violet"))["secret"]
    other = (await make(whole, "pink"))["secret"]
    await becomes(whole, owner, 200)
    await becomes(whole, other, 200)
    await Furnishing(whole, "violet", owner).fill()
    return Sharing(whole, owner, other)


async def test_a_shared_model_is_read_or_asked_as_it_is_shared(sharing: Sharing) -> None:
    await sharing.becomes(404, 404)
    made = await sharing.share("pink", "read")
    await sharing.becomes(200, 404)
    raised = await sharing.share("pink", "infer")
    assert (raised["id"], raised["level"]) == (made["id"], "infer")
    await sharing.becomes(200, 200)
    listed = (await sharing.whole.send("GET", sharing.root, headers=sharing.owner)).json()["shares"]
    assert [(each["id"], each["shared_to"]) for each in listed] == [(made["id"], "pink")]
    await sharing.unshare(made["id"])
    await sharing.becomes(404, 404)
    everybody = await sharing.share("*", "infer")
    await sharing.becomes(200, 200)
    await archive(sharing.whole, "violet", True)
    await sharing.becomes(404, 404)
    await archive(sharing.whole, "violet", False)
    await sharing.becomes(200, 200)
    await sharing.unshare(everybody["id"])
    await sharing.becomes(404, 404)


async def test_nothing_else_of_its_project_is_shared(sharing: Sharing) -> None:
    made = await sharing.share("pink", "infer")
    await sharing.becomes(200, 200)
    send, other = sharing.whole.send, {"headers": sharing.other}
    assert (await send("GET", f"{API}/models/violet-thing", **other)).status_code == 404
    assert (await send("GET", f"{API}/models/violet.other", **other)).status_code == 404
    assert (await send("GET", f"{API}/models", **other)).json()["models"] == []
    for method, path, body in (
        ("PATCH", f"models/{sharing.name}", {"archived": True}),
        ("PUT", f"models/{sharing.name}/aliases/champion", {"version": 1}),
        ("DELETE", f"models/{sharing.name}/versions/1", None),
        ("POST", f"models/{sharing.name}/shares", {"shared_to": "*"}),
        ("GET", f"models/{sharing.name}/versions/1/export", None),
    ):
        reply = await send(method, f"{API}/{path}", **other, **({"json": body} if body else {}))
        assert reply.status_code in (404, 422), f"{method} {path}: {reply.text}"
    assert (await send("GET", f"{API}/models/{sharing.name}", headers=sharing.owner)).status_code == 200
    await sharing.unshare(made["id"])


class Kind(NamedTuple):
    """Something else than a prediction at once that a shared model is good for, and what comes of it here."""

    path: str
    given: dict[str, Any]
    status: int


def kinds(name: str) -> list[Kind]:
    """The model adds four numbers up: it makes no vectors of texts, hears nothing and says nothing."""
    sound = {"files": {"file": ("a.wav", silence())}, "data": {"model": name}}
    return [
        Kind(f"/v2/models/{name}/versions/1/infer", {"headers": LATER, "json": PIXELS}, 202),
        Kind(f"{API}/models/{name}/batches?version=1", {"content": b"a,b,c,d\n1,2,3,4\n"}, 202),
        Kind(f"{API}/indexes/found?version=1&model={name}", {"content": b"id,text\n1,one\n"}, 422),
        Kind("/v1/audio/transcriptions", sound, 400),
        Kind("/v1/audio/speech", {"json": {"model": name, "input": "hello"}}, 400),
    ]


def silence() -> bytes:
    file = io.BytesIO()
    with wave.open(file, "wb") as sound:
        sound.setparams((1, 2, 16_000, 0, "NONE", ""))
        sound.writeframes(bytes(3200))
    return file.getvalue()


async def asked(sharing: Sharing, kind: Kind) -> httpx.Response:
    given = kind.given | {"headers": sharing.other | kind.given.get("headers", {})}
    return await sharing.whole.http.post(kind.path, **given)


async def test_what_comes_later_and_sound_take_shared_models(sharing: Sharing, monkeypatch: pytest.MonkeyPatch) -> None:
    """All of it is of who asks: nobody sees it in the project that shares."""
    await sharing.becomes(404, 404)
    for kind in kinds(sharing.name):
        assert (await asked(sharing, kind)).status_code == 404, kind.path
    made = await sharing.share("pink", "infer")
    await sharing.becomes(200, 200)
    found = {}
    counted: list[tuple[str, str]] = []
    add = Counters.add

    def count(self: Counters, key: Key, *rest: Any) -> None:
        counted.append((key[1], key[3]))
        add(self, key, *rest)

    monkeypatch.setattr(Counters, "add", count)
    for kind in kinds(sharing.name):
        reply = found[kind.path] = await asked(sharing, kind)
        assert reply.status_code == kind.status, f"{kind.path}: {reply.text}"
    assert ("pink", sharing.name) in counted
    later, batch, index, *_ = found.values()
    assert (later.json()["model"], index.json()["field"]) == (sharing.name, "model")
    for path in (later.headers["location"], batch.headers["location"]):
        assert (await sharing.whole.send("GET", path, headers=sharing.other)).json()["model"] == sharing.name
        assert (await sharing.whole.send("GET", path, headers=sharing.owner)).status_code == 404
    listed = await sharing.whole.send("GET", f"{API}/inferences?model={sharing.name}", headers=sharing.other)
    assert len(listed.json()["inferences"]) == 1
    for kind in kinds(sharing.name)[:2]:
        given = kind.given | {"headers": sharing.owner | kind.given.get("headers", {})}
        where = (await sharing.whole.send("POST", kind.path, **given)).headers["location"]
        found_there = (await sharing.whole.send("GET", where, headers=sharing.owner)).json()
        assert found_there["model"] == "violet-thing", "one's own has one name"
    await sharing.unshare(made["id"])


async def test_an_index_of_a_model_that_is_shared_no_more_finds_words_alone(sharing: Sharing) -> None:
    database, generation = sharing.whole.services["inference"].database, f"index-{new_id()}"
    assert database
    async with database.transaction() as tx:
        await indexes.begin(tx, generation, 3)
        facts = ("pink", "ended", sharing.name, 1, "text", "vector", 3, 0, generation)
        await indexes.save(tx, indexes.Index(*facts))
    await sharing.becomes(404, 404)
    for mode, status in {"hybrid": 404, "vector": 404, "text": 200}.items():
        path = f"{API}/indexes/ended/search?q=x&mode={mode}"
        assert (await sharing.whole.send("GET", path, headers=sharing.other)).status_code == status


async def test_a_prediction_of_a_shared_model_is_told_as_the_callers(sharing: Sharing) -> None:
    made = await sharing.share("pink", "infer")
    await sharing.becomes(200, 200)
    asked: list[frames.Request] = []

    async def noted(request: frames.Request) -> frames.Reply:
        asked.append(request)
        return await echo(request, "1")

    sharing.whole.neighbours.infer = noted
    assert await sharing.status("infer") == 200
    sharing.whole.neighbours.infer = None
    me = (await sharing.whole.send("GET", f"{API}/me", headers=sharing.other)).json()
    assert [request.credential for request in asked] == [f"pink/{me['id']}"]
    await sharing.unshare(made["id"])


@pytest.mark.parametrize(("shared_to", "status"), [("nowhere", 422), ("violet", 422), ("a.b", 422), ("", 422)])
async def test_what_cannot_be_shared(sharing: Sharing, shared_to: str, status: int) -> None:
    body = {"shared_to": shared_to}
    reply = await sharing.whole.send("POST", sharing.root, headers=sharing.owner, json=body)
    assert (reply.status_code, reply.json()["field"]) == (status, "shared_to")
