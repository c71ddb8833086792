"""Two projects with a thing of each kind: keys for every role, and all that a path of the API can name."""

import secrets
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from services.auth import domain, entries, store
from services.auth.extensions import domain as extensions
from services.auth.extensions import store as kept_extensions
from services.inference.domain import Deployment
from services.inference.search import store as indexes
from shared.artifacts import Artifacts, digest_of
from shared.context import Context
from shared.events.common import Signature, TensorSpec
from shared.events.training import TrainingCompleted
from shared.keys import new_secret
from shared.names import new_id
from shared.permissions import Role
from shared.rpc.auth import RegisterExtension
from shared.rpc.registry import RegisterDataset
from shared.series import records
from shared.worker import Record
from tests.integration.gateway_neighbours import bearer
from tests.integration.running import until
from tests.integration.whole_gateway import MODEL, Whole

MLFLOW = "/mlflow/api/2.0/mlflow"
SIGNATURE = Signature(
    inputs=(TensorSpec(name="pixels", datatype="FP32", shape=(-1, 4)),),
    outputs=(TensorSpec(name="sum", datatype="FP32", shape=(-1,)),),
)
MAKE_TASK = """
INSERT INTO tasks (id, project, kind, model, state, spec, context, result, ended_at)
VALUES ($1, $2, $3, $4, 'TASK_STATE_SUCCEEDED', $5, '{}', $6, now())
"""
MAKE_EVALUATION = """
INSERT INTO evaluations (id, project, model, version, digest, dataset_digest, passed)
VALUES ($1, $2, $3, 1, $4, $5, true)
"""
MAKE_INFERENCE = """
INSERT INTO inferences (id, project, model, size, context) VALUES ($1, $2, $3, 1, '{}')
"""
MAKE_PREDICTION = """
INSERT INTO prediction_blocks
VALUES ($1, $3, false, 1, $2, $2, now(), now(), ARRAY[$2], '{1}', '{200}', '{10}', '{1}', '{k}', '{""}',
    ARRAY[extract(epoch FROM now())::float8])
"""
MAKE_LETTER = """
INSERT INTO dead_letters (id, position, project, service, type, subject, event_id, error_class, error, stack,
    deliveries, correlation_id, traceparent, headers, payload)
VALUES ($1, $2, $3, 'registry', 'aimass.x', $4, $1, 'E', 'e', '', 1, 'c', '', '{}', '\\x7b7d')
"""


async def make_keys(whole: Whole, project: str) -> dict[Role, str]:
    """A key for each role, and all of them known to the gateway."""
    auth, found = whole.services["auth"], {role: new_secret() for role in Role}
    assert auth.relay
    async with auth.relay.work(Context(project=project, actor="auth")) as work:
        for role, secret in found.items():
            key = domain.draft(
                secret, project=project, name="n", roles=[role], created_by="auth", now=datetime.now(UTC)
            )
            await store.insert(work.tx, key)
            await entries.put_api_key(work, key)
    for secret in found.values():

        async def is_known(secret: str = secret) -> bool:
            return (await whole.http.get("/v2", headers=bearer(secret))).status_code == 200

        await until(is_known)
    return found


async def make_token(whole: Whole, admin: str, role: Role) -> str:
    """A token of a service account with this role, known to the gateway."""
    body = {"name": f"by-{role.value}", "roles": [role.value]}
    made = (await whole.send("POST", "/api/v1/service-accounts", headers=bearer(admin), json=body)).json()
    form = {"grant_type": "client_credentials", "client_id": made["id"], "client_secret": made["client_secret"]}
    answer = await whole.http.post("/api/v1/token", data=form, headers={"Authorization": ""})
    token = str(answer.json()["access_token"])

    async def is_known() -> bool:
        return (await whole.http.get("/api/v1/me", headers=bearer(token))).status_code == 200

    await until(is_known)
    return token


class Furnishing:
    """Fills a project; `things` are the values of what paths, queries and bodies name."""

    def __init__(self, whole: Whole, project: str, key: str) -> None:
        self.whole, self.project, self.key = whole, project, key
        self.name, self.content = f"{project}-thing", f"the artifact of {project}".encode()
        self.things = {"name": self.name, "model": self.name, "dataset": self.name, "version": "1", "step": "train"}
        self.things |= {"project": project, "share_id": new_id()}

    async def fill(self) -> Mapping[str, str]:
        await self._version()
        await self._over_http()
        await self._over_mlflow()
        await self._within()
        await self._served()
        return self.things

    async def _served(self) -> None:
        """As if Triton had the version: predictions are answered, and its node knows of it."""
        self.whole.neighbours.version = "1"
        await self.whole.neighbours.serve(self.name, self.project)
        routing = self.whole.routing
        here = Deployment(self.project, self.name, 1, self.things["digest"], SIGNATURE, "serving")
        routing.wanted[here.name] = here
        routing.ready |= {here.name}
        routing.routes[self.project, self.name] = 1

    async def send(self, method: str, path: str, **given: Any) -> Any:
        reply = await self.whole.send(method, path, headers=bearer(self.key), **given)
        assert reply.status_code < 300, f"{method} {path}: {reply.text}"
        return reply.json()

    async def _version(self) -> None:
        trainer, context = self.whole.services["trainer"], Context(project=self.project, actor="ada")
        assert trainer.relay
        self.things["digest"] = digest_of(self.content)
        await Artifacts(trainer.settings.artifacts_url).put(self.content)
        parts = dict.fromkeys(("train", "validation", "test"), self.things["digest"])
        data = RegisterDataset(name=self.name, digest=self.things["digest"], parts=parts)
        await trainer.bus.ask(data, context)
        async with trainer.relay.work(context) as work:
            facts = {"dataset": self.name, "dataset_digest": self.things["digest"], "digest": self.things["digest"]}
            work.say(
                TrainingCompleted(task_id=new_id(), model=self.name, signature=SIGNATURE, code_version="1", **facts)
            )
        await until(self._is_deployed)

    async def _is_deployed(self) -> bool:
        reply = await self.whole.http.get("/api/v1/deployments", headers=bearer(self.key))
        return bool(reply.status_code == 200 and reply.json()["deployments"])

    async def _over_http(self) -> None:
        things = self.things
        task = {"kind": "train", "model": MODEL, "remark": self.name}
        things["task_id"] = (await self.send("POST", "/api/v1/tasks", json=task))["id"]
        things["study_id"] = (await self.send("POST", "/api/v1/tasks", json=task | {"kind": "tune"}))["id"]
        steps = {"name": self.name, "steps": [{"name": "train", "kind": "train", "model": MODEL}]}
        things["pipeline_id"] = (await self.send("POST", "/api/v1/pipelines", json=steps))["id"]
        schedule = {"cron": "0 3 * * *", "task": {"kind": "train", "model": MODEL}}
        await self.send("PUT", f"/api/v1/schedules/{self.name}", json=schedule)
        await self.send("POST", "/api/v1/webhooks", json={"name": self.name, "url": "https://example.com/"})
        key = {"name": self.name, "roles": ["viewer"]}
        things["key_id"] = (await self.send("POST", "/api/v1/api-keys", json=key))["id"]
        things["user_id"] = (await self.send("POST", "/api/v1/users", json=key))["id"]
        await self._granted()

    async def _granted(self) -> None:
        things = self.things
        await self.send("POST", "/api/v1/roles", json={"name": self.name, "permissions": ["infer"]})
        await self.send("POST", "/api/v1/groups", json={"name": self.name})
        things["group"] = self.name
        given = {"role": "viewer", "subject_kind": "user", "subject_id": things["user_id"]}
        things["grant_id"] = (await self.send("POST", "/api/v1/grants", json=given))["id"]
        account = {"name": self.name, "roles": ["viewer"]}
        things["account_id"] = (await self.send("POST", "/api/v1/service-accounts", json=account))["id"]
        invited = {"name": f"{self.name}-guest", "roles": ["viewer"]}
        things["invitation_id"] = (await self.send("POST", "/api/v1/invitations", json=invited))["id"]
        things["session_id"] = new_id()

    async def _over_mlflow(self) -> None:
        things = self.things
        made = await self.send("POST", f"{MLFLOW}/experiments/create", json={"name": self.name})
        things["experiment_id"] = made["experiment_id"]
        run = await self.send("POST", f"{MLFLOW}/runs/create", json={"experiment_id": things["experiment_id"]})
        things["run_id"] = run["run"]["info"]["run_id"]
        model = {"experiment_id": things["experiment_id"], "name": self.name, "source_run_id": things["run_id"]}
        logged = (await self.send("POST", f"{MLFLOW}/logged-models", json=model))["model"]["info"]
        things |= {"model_id": logged["model_id"], "key": "a"}
        things["path"] = f"{things['experiment_id']}/{things['run_id']}/artifacts/{self.name}.txt"
        await self.send("PUT", f"/mlflow/api/2.0/mlflow-artifacts/artifacts/{things['path']}", content=b"x")

    async def _within(self) -> None:
        """What only work that takes long would make."""
        things, artifact = self.things, self.things["digest"]
        things |= {"batch_id": f"batch-{new_id()}", "evaluation_id": f"evaluate-{new_id()}"}
        things |= {"inference_id": new_id(), "prediction_id": new_id(), "id": things["task_id"]}
        things["letter_id"] = f"registry-EVT-{secrets.randbelow(10**9)}"
        size = len(self.content)
        result = {"digest": artifact, "size": size, "rows": 1, "format": "csv"}
        batch = (things["batch_id"], self.project, "batch", self.name, {"version": 1}, result)
        await self._run("inference", MAKE_TASK, *batch)
        await self._run("inference", MAKE_INFERENCE, things["inference_id"], self.project, self.name)
        await self._index()
        judged = (things["evaluation_id"], self.project, "evaluate", self.name, {}, {})
        await self._run("evaluator", MAKE_TASK, *judged)
        await self._run(
            "evaluator", MAKE_EVALUATION, things["evaluation_id"], self.project, self.name, artifact, artifact
        )
        await self._run("monitor", MAKE_PREDICTION, self.project, things["prediction_id"], self.name)
        subject = f"evt.{self.project}.models.v1.model_archived"
        await self._run("monitor", MAKE_LETTER, things["letter_id"], secrets.randbelow(10**9), self.project, subject)
        await self._record()
        await self._extension()

    async def _run(self, service: str, query: str, *values: Any) -> None:
        database = self.whole.services[service].database
        assert database
        async with database.transaction() as tx:
            await tx.execute(query, *values)

    async def _index(self) -> None:
        """Of no documents."""
        database, generation = self.whole.services["inference"].database, f"index-{new_id()}"
        assert database
        async with database.transaction() as tx:
            await indexes.begin(tx, generation, 3)
            made = indexes.Index(self.project, self.name, self.name, 1, "text", "vector", 3, 0, generation)
            await indexes.save(tx, made)

    async def _record(self) -> None:
        trainer = self.whole.services["trainer"]
        assert trainer.relay
        text = Record(kind="text", name=self.name, body={"text": self.name})
        kept = await records.kept(text, None, Artifacts(trainer.settings.artifacts_url))
        async with trainer.relay.work(Context()) as work:
            await records.save(work.tx, self.things["task_id"], 0, kept)

    async def _extension(self) -> None:
        auth, order = self.whole.services["auth"], RegisterExtension(name=self.name, hears=["models.>"])
        assert auth.relay
        async with auth.relay.work(Context()) as work:
            made = extensions.draft(order, "p", project=self.project, by="ada", now=datetime.now(UTC))
            await kept_extensions.insert(work.tx, made)
