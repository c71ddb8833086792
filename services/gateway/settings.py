"""The settings of the gateway."""

from pathlib import Path
from typing import Annotated, NamedTuple

from pydantic import Field, IPvAnyNetwork, model_validator
from pydantic_settings import SettingsConfigDict

from shared.body_pool import LARGEST_BYTES
from shared.names import Slug
from shared.settings import ServiceSettings

Origin = Annotated[str, Field(pattern=r"^https?://[a-z0-9][a-z0-9.-]{0,252}(:[0-9]{1,5})?$")]
OpsUrl = Annotated[str, Field(pattern=r"^http://[a-z0-9][a-z0-9.-]{0,252}:[0-9]{1,5}$")]


class HeadLimits(NamedTuple):
    """What a connection may take before it has asked anything."""

    seconds: float = 10
    bytes: int = 32 * 1024
    headers: int = 100
    connections: int = 4096


class Settings(ServiceSettings):
    """Where it listens, how long a prediction may take, and how much it takes on at once."""

    model_config = SettingsConfigDict(env_prefix="GATEWAY_", extra="ignore", frozen=True)

    host: str = "127.0.0.1"
    port: int = Field(ge=1, le=65535)
    listener: int | None = Field(
        default=None, ge=3, description="descriptor of a socket that listens already, in place of host and port"
    )
    grpc_port: int | None = Field(default=None, ge=1, le=65535, description="without it, gRPC is not served")
    tls_cert: Path | None = Field(default=None, description="file of the certificate, with its chain; HTTP and gRPC")
    tls_key: Path | None = Field(default=None, description="file of its key; both are read again when they change")
    hsts_seconds: int = Field(
        default=31_536_000, ge=0, description="how long browsers are to insist on TLS, where it is"
    )
    cors_origins: tuple[Origin, ...] = Field(default=(), description="pages of others that may call from a browser")
    docs: bool = Field(default=True, description="whether /docs, /openapi.json and /asyncapi.json are there")
    head_seconds: float = Field(default=10, gt=0, description="in which the head of a request arrives whole")
    head_bytes: int = Field(default=32 * 1024, ge=1024, description="of request line and headers")
    max_headers: int = Field(default=100, ge=10)
    max_connections: int = Field(default=4096, ge=1, description="over HTTP at once")
    infer_seconds: float = Field(default=10, gt=0, description="deadline of a request that names none")
    infer_seconds_max: float = Field(default=120, gt=0)
    infer_bytes: int = Field(default=64 * 1024**2, ge=1, le=256 * 1024**2, description="body of a prediction")
    shared_mb: int = Field(
        default=0,
        ge=0,
        le=LARGEST_BYTES // 1024**2,
        description="memory that inference and Triton of the same machine read large bodies from, in MiB",
    )
    max_in_flight: int = Field(default=1024, ge=1, description="predictions waited for at once")
    rate: float | None = Field(
        default=None, gt=0, le=1e6, description="requests a second of each key and user; a key may say otherwise"
    )
    burst: int | None = Field(default=None, ge=1, le=1_000_000, description="of them at once; those of a second")
    anonymous_rate: float | None = Field(
        default=None, gt=0, le=1e6, description="requests a second of each address that shows no valid key"
    )
    anonymous_burst: int | None = Field(default=None, ge=1, le=1_000_000)
    project_rate: float | None = Field(default=None, gt=0, le=1e6, description="requests a second of each project")
    project_burst: int | None = Field(default=None, ge=1, le=1_000_000)
    trusted_proxies: tuple[IPvAnyNetwork, ...] = Field(
        default=(), description="networks of proxies whose X-Forwarded-For is believed"
    )
    key_use_seconds: float = Field(default=60, ge=0.1, description="between two reports of when keys were used")
    max_followers: int = Field(default=100, ge=1, description="event streams open at once")
    ops_urls: dict[Slug, OpsUrl] = Field(default={}, description="ops ports by service; no other is ever asked")
    credentials_stale_seconds: float = Field(default=5, gt=0)
    usage_seconds: float = Field(default=5, gt=0, description="between two tellings of what was used")
    upload_bytes: int = Field(default=256 * 1024**2, ge=1, description="size of a file that somebody brings")
    upload_seconds: float = Field(default=300, gt=0)
    max_uploads: int = Field(default=2, ge=1, description="files that come in at once")

    @model_validator(mode="after")
    def _both_or_neither(self) -> "Settings":
        if (self.tls_cert is None) != (self.tls_key is None):
            raise ValueError("GATEWAY_TLS_CERT and GATEWAY_TLS_KEY: name both files, or neither")
        return self

    @property
    def head_limits(self) -> HeadLimits:
        return HeadLimits(self.head_seconds, self.head_bytes, self.max_headers, self.max_connections)

    @property
    def upload_limits(self) -> tuple[int, float, int]:
        """Size, seconds, and how many at once."""
        return self.upload_bytes, self.upload_seconds, self.max_uploads
