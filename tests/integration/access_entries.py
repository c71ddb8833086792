"""What each route of the API is asked with: values in braces are those of the project whose things are asked for."""

from typing import Any, NamedTuple

from tests.integration.whole_gateway import MODEL


class Entry(NamedTuple):
    """`own` are statuses that the own project may get beside those that say that it went well.

    `at` names other values for the names in the path; `other` is what comes of things of another project where that is
    not what the table says.
    """

    json: Any = None
    content: bytes | None = None
    query: dict[str, str] = {}
    at: dict[str, str] = {}
    own: tuple[int, ...] = ()
    other: tuple[int, ...] = ()


TASK = {"kind": "train", "model": MODEL}
PIXELS = {"inputs": [{"name": "pixels", "shape": [1, 4], "datatype": "FP32", "data": [1, 2, 3, 4]}]}
GONE, WAITS, NO_TRITON = (404,), (409,), (503,)
RUN, EXPERIMENT = {"run_id": "{run_id}"}, {"experiment_id": "{experiment_id}"}
STUDY, BATCH = {"task_id": "study_id"}, {"task_id": "batch_id"}
NO_OFFICE = (503,)
PROVIDER: dict[str, Any] = {"name": "made", "issuer": "https://id.example", "client_id": "i"}
PROVIDER |= {"public_url": "https://ai.example", "group_roles": {"guests": ["viewer"]}}
CODE = Entry({"code": "123456"}, own=(403,), other=(403,))
API, V2, MLFLOW = "/api/v1", "/v2/models/{model}", "/mlflow/api/2.0/mlflow"
FILES = "/mlflow/api/2.0/mlflow-artifacts/artifacts"
VERSION = "/models/{model}/versions/{version}"
READS = (
    *(f"{API}/library", f"{API}/tasks", f"{API}/tasks/{{task_id}}", f"{API}/tasks/{{task_id}}/metrics"),
    *(f"{API}/tasks/{{task_id}}/logs", f"{API}/tasks/{{task_id}}/curves", f"{API}/tasks/{{task_id}}/records"),
    *(f"{API}/tasks/{{task_id}}/export", f"{API}/tasks/{{task_id}}/insights"),
    *(f"{API}/{name}" for name in ("schedules", "schedules/{name}", "pipelines", "pipelines/{pipeline_id}", "indexes")),
    *(f"{API}/{name}" for name in ("datasets", "datasets/{name}", "indexes/{name}", "models", "models/{model}")),
    *(f"{API}{name}" for name in ("/models/{model}/versions", VERSION, f"{VERSION}/export", "/inferences")),
    *(f"{API}/{name}" for name in ("inferences/{inference_id}", "webhooks", "evaluations", "predictions", "me")),
    *(f"{API}/{name}" for name in ("evaluations/{evaluation_id}", "metrics/host", "deployments", "trace/{id:path}")),
    *(f"{API}/{name}" for name in ("models/{model}/resources", "dead-letters", "dead-letters/{letter_id}", "audit")),
    *(f"{API}/{name}" for name in ("audit/verification", "api-keys", "users")),
    *("/v1/models", "/v2", f"{MLFLOW}/experiments/search"),
)
ENTRIES: dict[str, Entry] = {f"GET {path}": Entry() for path in READS} | {
    "GET /api/v1/tasks/compare": Entry(query={"ids": "{task_id},{study_id}"}, other=(404,)),
    "GET /api/v1/library/{name}": Entry(at={"name": "member"}),
    "POST /api/v1/tasks": Entry(TASK),
    "GET /api/v1/tasks/{task_id}/study": Entry(at=STUDY),
    "POST /api/v1/tasks/{task_id}/cancel": Entry(at=STUDY, own=WAITS),
    "POST /api/v1/tasks/{task_id}/pause": Entry(own=WAITS),
    "POST /api/v1/tasks/{task_id}/resume": Entry(own=WAITS),
    "POST /api/v1/tasks/{task_id}/clone": Entry({"config": {}}),
    "PATCH /api/v1/tasks/{task_id}": Entry({"remark": "{name}"}),
    "GET /api/v1/tasks/{task_id}/profile": Entry(own=GONE),
    "POST /api/v1/tasks/{task_id}/reproduce": Entry(own=WAITS),
    "GET /api/v1/tasks/{task_id}/records/content": Entry(query={"name": "{name}"}),
    "GET /api/v1/tasks/{task_id}/result": Entry(at=BATCH),
    "PUT /api/v1/schedules/{name}": Entry({"cron": "0 4 * * *", "task": TASK}, at={"name": "member"}),
    "DELETE /api/v1/schedules/{name}": Entry(own=GONE),
    "POST /api/v1/pipelines": Entry({"steps": [{"name": "s", "kind": "train", "model": MODEL}]}),
    "POST /api/v1/pipelines/{pipeline_id}/cancel": Entry(own=WAITS),
    "POST /api/v1/pipelines/{pipeline_id}/clone": Entry({"steps": {}}),
    "POST /api/v1/pipelines/{pipeline_id}/steps/{step}/approve": Entry(own=(409, 422)),
    "POST /api/v1/predict/{model}": Entry({"items": [[1, 2, 3, 4]]}),
    "POST /api/v1/predict/{model}/versions/{version}": Entry({"items": [[1, 2, 3, 4]]}),
    "GET /api/v1/usage": Entry(),
    "GET /api/v1/usage.csv": Entry(),
    "GET /api/v1/usage/invoice": Entry(),
    "GET /api/v1/prices": Entry(),
    "PUT /api/v1/prices": Entry({"valid_from": "2098-01-01", "currency": "EUR", "prices": {"infer_request": "0.001"}}),
    "GET /api/v1/quotas": Entry(),
    "PUT /api/v1/quotas": Entry({"project": "none", "limits": [{"quota": "requests_per_day", "hard": 1}]}),
    **{f"{of_people} /api/v1/me/totp": Entry(own=(403,), other=(403,)) for of_people in ("GET", "POST")},
    **{f"{of_people} /api/v1/me/totp": CODE for of_people in ("PUT", "DELETE")},
    "POST /api/v1/logout": Entry(own=(403,), other=(403,)),
    "GET /api/v1/me/sessions": Entry(own=(403,), other=(403,)),
    "DELETE /api/v1/me/sessions/{session_id}": Entry(own=GONE),
    "GET /api/v1/invitations": Entry(),
    "POST /api/v1/invitations": Entry({"name": "guest", "roles": ["viewer"]}, own=WAITS, other=(201, 409)),
    "DELETE /api/v1/invitations/{invitation_id}": Entry(own=GONE),
    "DELETE /api/v1/users/{user_id}/totp": Entry(own=GONE),
    "DELETE /api/v1/users/{user_id}/lock": Entry(),
    "GET /api/v1/service-accounts": Entry(),
    "POST /api/v1/service-accounts": Entry({"name": "made", "roles": ["viewer"]}, own=WAITS, other=(201, 409)),
    "POST /api/v1/service-accounts/{account_id}/secret": Entry({"overlap_seconds": 60}, own=GONE),
    "DELETE /api/v1/service-accounts/{account_id}": Entry(own=GONE),
    "GET /api/v1/identity-providers": Entry(),
    "POST /api/v1/identity-providers": Entry(PROVIDER, own=WAITS, other=(201, 409)),
    "PATCH /api/v1/identity-providers/{name}": Entry({"disabled": True}, own=GONE),
    "DELETE /api/v1/identity-providers/{name}": Entry(own=GONE),
    "GET /api/v1/permissions": Entry(),
    "GET /api/v1/me/permissions": Entry(),
    "POST /api/v1/permissions/check": Entry({"permission": "infer"}),
    "GET /api/v1/roles": Entry(),
    "POST /api/v1/roles": Entry({"name": "made", "permissions": ["infer"]}, own=WAITS, other=(201, 409)),
    "GET /api/v1/roles/{name}": Entry(),
    "PUT /api/v1/roles/{name}": Entry({"permissions": ["infer"]}),
    "DELETE /api/v1/roles/{name}": Entry(),
    "GET /api/v1/groups": Entry(),
    "POST /api/v1/groups": Entry({"name": "made"}, own=WAITS, other=(201, 409)),
    "DELETE /api/v1/groups/{group}": Entry(),
    "PUT /api/v1/groups/{group}/members/{user_id}": Entry(own=GONE),
    "DELETE /api/v1/groups/{group}/members/{user_id}": Entry(own=GONE),
    "GET /api/v1/grants": Entry(),
    "POST /api/v1/grants": Entry(
        {"role": "viewer", "subject_kind": "key", "subject_id": "{key_id}"}, own=WAITS, other=GONE
    ),
    "DELETE /api/v1/grants/{grant_id}": Entry(),
    "GET /api/v1/projects": Entry(),
    "POST /api/v1/projects": Entry({"name": "made"}, own=WAITS, other=(201, 409)),
    "GET /api/v1/projects/{name}": Entry(at={"name": "project"}, other=(200, 404)),
    "PATCH /api/v1/projects/{name}": Entry({"title": "t"}, at={"name": "project"}, other=(200, 404)),
    "GET /api/v1/models/{model}/shares": Entry(),
    "POST /api/v1/models/{model}/shares": Entry({"shared_to": "nowhere"}, own=(422,)),
    "DELETE /api/v1/models/{model}/shares/{share_id}": Entry(own=GONE),
    "GET /v1/models/{model}": Entry(own=GONE),
    "POST /v1/embeddings": Entry({"model": "{model}", "input": "a"}, own=(400, 404, 503), other=GONE),
    "POST /v1/audio/transcriptions": Entry(own=(400,), other=(400, 404)),
    "POST /v1/audio/speech": Entry({"model": "{model}", "input": "a", "voice": "joe"}, own=(400, 404, 503), other=GONE),
    "POST /api/v1/datasets/{name}": Entry(content=b"a\n1\n", query={"like": "digits"}),
    "POST /api/v1/models/{model}/batches": Entry(content=b"pixels\n1\n", query={"version": "1"}),
    "POST /api/v1/indexes/{name}": Entry(
        content=b"id,text\n1,a\n", query={"model": "{model}", "version": "1"}, own=(422,), other=GONE
    ),
    "DELETE /api/v1/indexes/{name}": Entry(own=GONE),
    "GET /api/v1/indexes/{name}/search": Entry(query={"q": "a", "mode": "text"}),
    "PUT /api/v1/models/{model}/aliases/{alias}": Entry({"version": 1}, at={"alias": "name"}),
    "PATCH /api/v1/models/{model}": Entry({"archived": False}),
    "PUT /api/v1/models/{model}/tags": Entry({"tags": []}),
    f"PATCH {API}{VERSION}": Entry({"archived": False}),
    f"DELETE {API}{VERSION}": Entry(own=(404, 409)),
    f"GET {API}{VERSION}/comparison": Entry(query={"other": "1"}),
    f"POST {API}{VERSION}/optimisations": Entry({"how": {"method": "graph"}}, own=(409, 422)),
    "POST /api/v1/models/{model}/versions": Entry(content=b"no model", own=(422,), other=(422,)),
    "POST /api/v1/models/{model}/imports": Entry(content=b"no zip", own=(422,), other=(422,)),
    "POST /api/v1/artifacts/collection": Entry({"dry_run": True}),
    "GET /api/v1/inferences/{inference_id}/result": Entry(own=WAITS),
    "DELETE /api/v1/inferences/{inference_id}": Entry(),
    "POST /api/v1/webhooks": Entry({"name": "made", "url": "https://example.com/"}, own=WAITS, other=(201, 409)),
    "DELETE /api/v1/webhooks/{name}": Entry(own=GONE),
    "PUT /api/v1/models/{model}/resources": Entry({"instances_max": 2}),
    "GET /api/v1/events": Entry(query={"follow": "false"}),
    "POST /api/v1/dead-letter-replays": Entry({"service": "registry"}),
    "POST /api/v1/dead-letters/{letter_id}/replay": Entry(own=WAITS),
    "POST /api/v1/dead-letters/{letter_id}/discard": Entry({"reason": "r"}, own=WAITS),
    "POST /api/v1/api-keys": Entry({"name": "n", "roles": ["viewer"]}),
    "POST /api/v1/api-keys/{key_id}/rotate": Entry(own=WAITS),
    "DELETE /api/v1/api-keys/{key_id}": Entry(),
    "PUT /api/v1/me/password": Entry(
        {"current_password": "one", "new_password": "a"}, own=(403, 422), other=(403, 422)
    ),
    "POST /api/v1/users": Entry({"name": "made", "roles": ["viewer"]}, own=WAITS, other=(201, 409)),
    "PATCH /api/v1/users/{user_id}": Entry({"roles": ["viewer"]}),
    "POST /api/v1/users/{user_id}/password": Entry(),
    "POST /api/v1/signing-keys": Entry(),
    "POST /api/v1/extensions": Entry({"name": "n", "hears": ["VersionPromoted"]}, own=NO_OFFICE, other=NO_OFFICE),
    "GET /api/v1/extensions": Entry(own=NO_OFFICE, other=NO_OFFICE),
    "GET /api/v1/extensions/{name}": Entry(own=NO_OFFICE),
    "PATCH /api/v1/extensions/{name}": Entry({"disabled": True}, own=NO_OFFICE),
    "POST /api/v1/extensions/{name}/credentials": Entry(own=NO_OFFICE),
    "DELETE /api/v1/extensions/{name}": Entry(own=NO_OFFICE),
    "GET /ops/{service}": Entry(),
    "GET /ops/{service}/": Entry(own=GONE),
    "GET /ops/{service}/{page}": Entry(own=GONE),
    f"GET {V2}": Entry(),
    f"GET {V2}/ready": Entry(),
    "GET /v2/models/stats": Entry(own=(503,), other=(503,)),
    f"GET {V2}/stats": Entry(own=NO_TRITON),
    f"GET {V2}/config": Entry(own=NO_TRITON),
    f"GET {V2}/versions/{{version}}": Entry(),
    f"GET {V2}/versions/{{version}}/ready": Entry(),
    f"GET {V2}/versions/{{version}}/stats": Entry(own=NO_TRITON),
    f"GET {V2}/versions/{{version}}/config": Entry(own=NO_TRITON),
    f"POST {V2}/infer": Entry(PIXELS),
    f"POST {V2}/versions/{{version}}/infer": Entry(PIXELS),
    f"POST {MLFLOW}/experiments/create": Entry({"name": "made"}, own=(400,), other=(200, 400)),
    f"GET {MLFLOW}/experiments/get": Entry(query=EXPERIMENT, other=GONE),
    f"GET {MLFLOW}/experiments/get-by-name": Entry(query={"experiment_name": "{name}"}, other=GONE),
    f"POST {MLFLOW}/experiments/search": Entry({"max_results": 1000}),
    f"POST {MLFLOW}/experiments/update": Entry(EXPERIMENT | {"new_name": "{name}"}, other=GONE),
    f"POST {MLFLOW}/experiments/delete": Entry(EXPERIMENT, other=GONE),
    f"POST {MLFLOW}/experiments/restore": Entry(EXPERIMENT, other=GONE),
    f"POST {MLFLOW}/experiments/set-experiment-tag": Entry(EXPERIMENT | {"key": "a", "value": "b"}, other=GONE),
    f"POST {MLFLOW}/experiments/delete-experiment-tag": Entry(EXPERIMENT | {"key": "a"}, own=GONE, other=GONE),
    f"POST {MLFLOW}/runs/create": Entry(EXPERIMENT, other=GONE),
    f"GET {MLFLOW}/runs/get": Entry(query=RUN, other=GONE),
    f"POST {MLFLOW}/runs/update": Entry(RUN | {"run_name": "{name}"}, other=GONE),
    f"POST {MLFLOW}/runs/delete": Entry(RUN, other=GONE),
    f"POST {MLFLOW}/runs/restore": Entry(RUN, other=GONE),
    f"POST {MLFLOW}/runs/search": Entry({"experiment_ids": ["{experiment_id}"]}),
    f"POST {MLFLOW}/runs/log-metric": Entry(RUN | {"key": "m", "value": 1, "timestamp": 1, "step": 1}, other=GONE),
    f"POST {MLFLOW}/runs/log-parameter": Entry(RUN | {"key": "a", "value": "b"}, other=GONE),
    f"POST {MLFLOW}/runs/set-tag": Entry(RUN | {"key": "a", "value": "b"}, other=GONE),
    f"POST {MLFLOW}/runs/delete-tag": Entry(RUN | {"key": "a"}, own=GONE, other=GONE),
    f"POST {MLFLOW}/runs/log-batch": Entry(RUN | {"tags": [{"key": "a", "value": "b"}]}, other=GONE),
    f"POST {MLFLOW}/runs/log-inputs": Entry(RUN, other=GONE),
    f"POST {MLFLOW}/runs/outputs": Entry(RUN, other=GONE),
    f"POST {MLFLOW}/runs/log-model": Entry(RUN | {"model_json": "{}"}, other=GONE),
    f"GET {MLFLOW}/metrics/get-history": Entry(query=RUN | {"metric_key": "m"}, own=GONE, other=GONE),
    f"GET {MLFLOW}/artifacts/list": Entry(query=RUN, other=GONE),
    f"POST {MLFLOW}/logged-models": Entry(EXPERIMENT | {"source_run_id": "{run_id}"}, other=GONE),
    f"POST {MLFLOW}/logged-models/search": Entry({"experiment_ids": ["{experiment_id}"]}),
    f"GET {MLFLOW}/logged-models/{{model_id}}": Entry(),
    f"PATCH {MLFLOW}/logged-models/{{model_id}}": Entry({"status": "LOGGED_MODEL_READY"}),
    f"DELETE {MLFLOW}/logged-models/{{model_id}}": Entry(own=GONE),
    f"PATCH {MLFLOW}/logged-models/{{model_id}}/tags": Entry({"tags": [{"key": "a", "value": "b"}]}),
    f"DELETE {MLFLOW}/logged-models/{{model_id}}/tags/{{key:path}}": Entry(own=GONE),
    f"POST {MLFLOW}/logged-models/{{model_id}}/params": Entry({"params": []}),
    f"GET {MLFLOW}/logged-models/{{model_id}}/artifacts/directories": Entry(),
    f"GET {FILES}": Entry(query={"path": "{experiment_id}/{run_id}/artifacts"}),
    f"GET {FILES}/{{path:path}}": Entry(own=GONE),
    f"PUT {FILES}/{{path:path}}": Entry(content=b"y"),
    f"DELETE {FILES}/{{path:path}}": Entry(other=(200,)),
    "WebSocket /api/v1/tasks/{task_id}/logs/ws": Entry(),
    "WebSocket /api/v1/events/ws": Entry(),
}
