"""Errors of the control API as problem documents (RFC 9457), and below /v1 as OpenAI's clients read them."""

from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from opentelemetry import trace
from starlette.exceptions import HTTPException
from starlette.responses import JSONResponse, Response
from starlette.routing import Match

from services.gateway.mlflow import errors
from services.gateway.openai.errors import error_document, is_openai, status_of
from shared.errors import AimassError, InvalidInput, NotFound, Unauthenticated

MEDIA_TYPE = "application/problem+json"
UNION_ERRORS = ("union_tag_invalid", "union_tag_not_found")
ROOTS = ("body", "query", "path", "header")


def problem_response(error: AimassError, path: str, **extra: Any) -> Response:
    """The document and the headers of an error, as clients of this path read them."""
    if is_openai(path):
        return JSONResponse(error_document(error), status_of(error), _headers(error))
    if errors.is_mlflow(path):
        return JSONResponse(errors.error_document(error), errors.status_of(error), _headers(error))
    document = {
        "type": f"urn:aimass:problem:{error.code}",
        "title": error.code.replace("_", " ").capitalize(),
        "status": error.status,
        "detail": error.message,
        "field": error.field,
        "trace_id": trace_id(),
    }
    given = {name: value for name, value in (document | extra).items() if value is not None}
    return JSONResponse(given, error.status, _headers(error), MEDIA_TYPE)


def trace_id() -> str:
    return f"{trace.get_current_span().get_span_context().trace_id:032x}"


def _headers(error: AimassError) -> dict[str, str]:
    headers = {"Cache-Control": "no-store"}
    if error.retry_after is not None:
        headers["Retry-After"] = str(error.retry_after)
    if isinstance(error, Unauthenticated):
        headers["WWW-Authenticate"] = "Bearer"
    return headers


class BadRequest(AimassError):
    """The request cannot be read."""

    code = "bad_request"
    status = 400


class MethodNotAllowed(AimassError):
    """This method is not known here."""

    code = "method_not_allowed"
    status = 405


async def _on_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, AimassError)
    return problem_response(error, request.url.path)


async def _on_invalid(request: Request, error: Exception) -> Response:
    """The first error names its field; all of them are listed. What was sent is not repeated."""
    assert isinstance(error, RequestValidationError)
    found = [{"field": _named(each, error.body), "detail": _detail(each)} for each in error.errors()]
    first = found[0]
    invalid = InvalidInput(f"{first['field']}: {first['detail']}", field=first["field"])
    return problem_response(invalid, request.url.path, errors=found)


def _named(error: dict[str, Any], body: Any) -> str:
    """The field; of a body of several kinds neither the kind in its place nor the whole body, but what tells kinds."""
    location = _without_kinds(error["loc"], body)
    if error["type"] in UNION_ERRORS:
        return ".".join([_field(location), str(error["ctx"]["discriminator"]).strip("'")]).removeprefix("body.")
    return _field(location)


def _without_kinds(location: tuple[str | int, ...], body: Any) -> tuple[str | int, ...]:
    """Of things of several kinds, steps of a pipeline too, the kind stands in the place after each."""
    kept, inside = [*location[:1]], body if location[:1] == ("body",) else None
    for number, part in enumerate(location[1:], 1):
        is_last = number == len(location) - 1
        if isinstance(inside, dict) and part == inside.get("kind") and not (is_last and part in inside):
            continue
        kept.append(part)
        inside = _inner(inside, part)
    return tuple(kept)


def _inner(outer: Any, part: str | int) -> Any:
    try:
        return outer[part]
    except (TypeError, KeyError, IndexError):
        return None


def _field(location: tuple[str | int, ...]) -> str:
    """As in `steps[0].model`, without the part of the request that it stands in; a position in broken JSON is none."""
    parts = [part for part in location if not (location[1:] == (part,) and isinstance(part, int))]
    named = parts[1:] if len(parts) > 1 and parts[0] in ROOTS else parts
    return "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in named).removeprefix(".")


def _detail(error: dict[str, Any]) -> str:
    reason = error.get("ctx", {}).get("error")
    return f"{error['msg']}: {reason}" if error["type"] == "json_invalid" and reason else str(error["msg"])


async def _on_http(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    path = request.url.path
    if errors.is_mlflow(path) and error.status_code in (404, 405):
        return JSONResponse(errors.no_route(request.method, path), 404)
    if error.status_code == 404:
        return problem_response(NotFound(f"there is no {request.method} {path}"), path)
    if error.status_code == 405:
        response = problem_response(MethodNotAllowed(f"{request.method} is not known at {path}"), path)
        response.headers["Allow"] = ", ".join(sorted(_methods_at(request)))
        return response
    return problem_response(BadRequest(str(error.detail)), path)


def _methods_at(request: Request) -> set[str]:
    """What is known at a path, over all its routes: RFC 9110 wants it whole."""
    routes = request.app.router.routes
    return set().union(*(route.methods for route in routes if route.matches(request.scope)[0] != Match.NONE))


async def _on_crash(request: Request, _: Exception) -> Response:
    crashed = AimassError("something went wrong here; the log of the gateway says more")
    return problem_response(crashed, request.url.path)


def install(app: FastAPI) -> None:
    """Let the app answer every error with a problem document."""
    app.add_exception_handler(AimassError, _on_error)
    app.add_exception_handler(RequestValidationError, _on_invalid)
    app.add_exception_handler(HTTPException, _on_http)
    app.add_exception_handler(Exception, _on_crash)
