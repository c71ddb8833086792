"""A good body for each route that takes one, and names of things that there are not."""

from typing import Any

from shared.names import new_id

UNKNOWN = {
    "version": "7",
    "task_id": f"train-{new_id()}",
    "evaluation_id": f"evaluate-{new_id()}",
    "pipeline_id": f"pipeline-{new_id()}",
    "inference_id": new_id(),
    "key_id": new_id(),
    "user_id": new_id(),
    "session_id": new_id(),
    "invitation_id": new_id(),
    "account_id": new_id(),
    "grant_id": new_id(),
    "share_id": new_id(),
    "page": "status",
    "letter_id": "registry-EVT-17",
    "id": new_id(),
}
LOGIN = "POST /api/v1/login"
PASSWORD = "PUT /api/v1/me/password"
REFRESH = "POST /api/v1/login/refresh"
TOTP = ("PUT /api/v1/me/totp", "DELETE /api/v1/me/totp")
OTHERWISE_REFUSED = {
    "POST /api/v1/extensions": (503,),
    LOGIN: (401, 429),
    REFRESH: (401,),
    PASSWORD: (403,),
} | dict.fromkeys(TOTP, (403,))
BODIES: dict[str, dict[str, Any]] = {
    "POST /api/v1/tasks": {"kind": "train", "model": "unknown"},
    "POST /api/v1/dead-letter-replays": {"service": "unknown"},
    "POST /api/v1/dead-letters/{letter_id}/discard": {"reason": "nobody wants it"},
    "POST /api/v1/tasks/{task_id}/clone": {"config": {}},
    "PATCH /api/v1/tasks/{task_id}": {"remark": "a remark"},
    "POST /api/v1/pipelines": {"steps": [{"name": "train", "kind": "train", "model": "unknown"}]},
    "POST /api/v1/pipelines/{pipeline_id}/clone": {"steps": {"train": {"config": {}}}},
    "PUT /api/v1/schedules/{name}": {"cron": "0 3 * * *", "task": {"kind": "train", "model": "unknown"}},
    "PUT /api/v1/models/{model}/aliases/{alias}": {"version": 1},
    "PUT /api/v1/models/{model}/resources": {"instances_max": 2, "pinned": True},
    "PATCH /api/v1/models/{model}": {"archived": True},
    "PUT /api/v1/models/{model}/tags": {"tags": ["x"]},
    "PATCH /api/v1/models/{model}/versions/{version}": {"archived": True},
    "POST /api/v1/api-keys": {"name": "n", "roles": ["viewer"]},
    "POST /api/v1/identity-providers": {
        "name": "n",
        "issuer": "https://example.com",
        "client_id": "i",
        "public_url": "https://example.com",
        "default_roles": ["viewer"],
    },
    "PATCH /api/v1/identity-providers/{name}": {"disabled": True},
    "POST /api/v1/api-keys/{key_id}/rotate": {"overlap_seconds": 60},
    "POST /api/v1/extensions": {"name": "n", "hears": ["VersionPromoted"]},
    "PATCH /api/v1/extensions/{name}": {"disabled": True},
    "PUT /api/v1/prices": {"valid_from": "2098-01-01", "currency": "EUR", "prices": {"infer_request": "0.001"}},
    "PUT /api/v1/quotas": {"project": "unknown", "limits": [{"quota": "requests_per_day", "hard": 1}]},
    "POST /api/v1/webhooks": {"name": "n", "url": "https://example.com/"},
    "POST /api/v1/users": {"name": "ada", "roles": ["viewer"]},
    "PATCH /api/v1/users/{user_id}": {"roles": ["viewer"]},
    "POST /api/v1/roles": {"name": "n", "permissions": ["infer"]},
    "PUT /api/v1/roles/{name}": {"permissions": ["infer"]},
    "POST /api/v1/groups": {"name": "n"},
    "POST /api/v1/grants": {"role": "viewer", "subject_kind": "user", "subject_id": new_id()},
    "POST /api/v1/permissions/check": {"permission": "infer"},
    "POST /api/v1/invitations": {"name": "bea", "roles": ["viewer"]},
    "POST /api/v1/invitations/accept": {"token": "of nobody", "new_password": "a password of nobody"},
    "POST /api/v1/service-accounts": {"name": "n", "roles": ["viewer"]},
    "POST /api/v1/service-accounts/{account_id}/secret": {"overlap_seconds": 60},
    REFRESH: {"refresh_token": "of nobody"},
    **dict.fromkeys(TOTP, {"code": "123456"}),
    "POST /api/v1/projects": {"name": "n"},
    "PATCH /api/v1/projects/{name}": {"title": "t"},
    "POST /api/v1/models/{model}/shares": {"shared_to": "*"},
    LOGIN: {"name": "nobody", "password": "a password of nobody"},
    PASSWORD: {"current_password": "one", "new_password": "a password of nobody"},
    "POST /api/v1/artifacts/collection": {"dry_run": True},
    "POST /api/v1/predict/{model}": {"items": [[1, 2]]},
    "POST /api/v1/predict/{model}/versions/{version}": {"items": [{"pixels": [1, 2]}]},
    "POST /v1/embeddings": {"model": "unknown", "input": "a text"},
    "POST /v1/audio/speech": {"model": "unknown", "input": "a text", "voice": "joe"},
    "POST /api/v1/models/{model}/versions/{version}/optimisations": {"how": {"method": "graph"}},
}
