"""Headers that tell browsers what not to do with an answer, and which pages of others may ask at all."""

from collections.abc import Iterable

from starlette.middleware.cors import CORSMiddleware
from starlette.types import ASGIApp

from services.gateway.settings import Settings

Header = tuple[bytes, bytes]
# Of every answer, the predictions' too, which browsers do not show.
NOSNIFF: Header = (b"x-content-type-options", b"nosniff")
EVERYWHERE: tuple[Header, ...] = (
    (b"cache-control", b"no-store"),
    (b"content-security-policy", b"default-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"),
    (b"x-frame-options", b"DENY"),
    (b"referrer-policy", b"no-referrer"),
    (b"cross-origin-opener-policy", b"same-origin"),
)
ISOLATED: Header = (b"cross-origin-resource-policy", b"same-origin")
METHODS = ("GET", "POST", "PUT", "PATCH", "DELETE")
ASKED = ("Authorization", "Content-Type", "Idempotency-Key", "Last-Event-ID", "traceparent")
ASKED_OF_INFERENCE = ("Inference-Header-Content-Length", "X-Request-Timeout-Ms")
SHOWN = ("Location", "ETag", "Retry-After", "X-Correlation-Id", "X-Prediction-Id", "Inference-Header-Content-Length")
PREFLIGHT_SECONDS = 600


def of_server(settings: Settings) -> list[tuple[str, str]]:
    """What the server itself writes into every answer."""
    found = [NOSNIFF] if settings.cors_origins else [NOSNIFF, ISOLATED]
    if settings.tls_cert and settings.hsts_seconds:
        found.append((b"strict-transport-security", b"max-age=%d; includeSubDomains" % settings.hsts_seconds))
    return [(name.decode(), value.decode()) for name, value in found]


def missing(given: Iterable[Header], wanted: Iterable[Header]) -> list[Header]:
    """Those that an answer does not bring itself."""
    named = {name.lower() for name, _ in given}
    return [header for header in wanted if header[0] not in named]


def with_cors(app: ASGIApp, settings: Settings) -> ASGIApp:
    """Let the named pages call; never with what a browser would send by itself, as the credential is a header."""
    if not settings.cors_origins:
        return app
    return CORSMiddleware(
        app,
        allow_origins=settings.cors_origins,
        allow_methods=METHODS,
        allow_headers=(*ASKED, *ASKED_OF_INFERENCE),
        expose_headers=SHOWN,
        allow_credentials=False,
        max_age=PREFLIGHT_SECONDS,
    )
