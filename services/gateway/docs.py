"""What documents the API: Swagger UI from files of an installed package, and the AsyncAPI document of the whole bus."""

from importlib.resources import files
from pathlib import Path

from fastapi import FastAPI
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

DOCS, OPENAPI, ASYNCAPI = "/docs", "/openapi.json", "/asyncapi.json"
ASYNCAPI_FILE = Path(__file__).resolve().parents[2] / "docs" / "asyncapi.json"
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; "
    "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
HEADERS = {"Content-Security-Policy": POLICY, "Referrer-Policy": "no-referrer", "X-Frame-Options": "DENY"}
RESOURCES = files("fastapi_swagger") / "resources"
PAGE = f"""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<title>AI Mass</title>
<link rel="icon" href="{DOCS}/favicon-32x32.png">
<link rel="stylesheet" href="{DOCS}/swagger-ui.css">
</head>
<body>
<div id="page"></div>
<script src="{DOCS}/swagger-ui-bundle.js"></script>
<script src="{DOCS}/start.js"></script>
</body>
</html>
"""
START = f"""SwaggerUIBundle({{
  url: "{OPENAPI}", dom_id: "#page", deepLinking: true, validatorUrl: null, persistAuthorization: false
}});
"""
WRITTEN = {DOCS: (PAGE, "text/html"), f"{DOCS}/start.js": (START, "text/javascript")}
SHIPPED = {
    f"{DOCS}/swagger-ui.css": "text/css",
    f"{DOCS}/swagger-ui-bundle.js": "text/javascript",
    f"{DOCS}/favicon-32x32.png": "image/png",
}
PATHS = frozenset(WRITTEN | SHIPPED)


def install(app: FastAPI) -> None:
    """Let the app show its documentation."""
    for path in (*PATHS, ASYNCAPI):
        app.router.routes.append(Route(path, _show, methods=["GET"]))


def _show(request: Request) -> Response:
    path = request.url.path
    if path == ASYNCAPI:
        return Response(ASYNCAPI_FILE.read_bytes(), media_type="application/json")
    if path in WRITTEN:
        text, kind = WRITTEN[path]
        return Response(text, media_type=kind, headers=HEADERS)
    content = (RESOURCES / path.rpartition("/")[2]).read_bytes()
    return Response(content, media_type=SHIPPED[path], headers=HEADERS | {"Cache-Control": "max-age=3600"})
