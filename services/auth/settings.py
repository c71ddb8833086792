"""The settings of auth."""

from datetime import timedelta
from pathlib import Path

from pydantic import Field, SecretStr
from pydantic_settings import SettingsConfigDict

from services.auth.sessions.domain import Lifetimes
from shared.permissions import Role
from shared.settings import ServiceSettings
from shared.strength import Guarded
from shared.tokens import LONGEST_SECONDS


class Settings(ServiceSettings):
    """The admin key of the first start is written to `admin_key_file`, for its owner's eyes only; so are the keys that
    sign tokens, to `signing.keys` in `home_dir`.
    """

    model_config = SettingsConfigDict(env_prefix="AUTH_", extra="ignore", frozen=True)

    admin_key_file: Path
    callout_secret: SecretStr = Field(
        default=SecretStr(""), description="what lets extensions onto the bus; without it there are none"
    )
    public_bus_url: str = Field(default="", description="where extensions reach the bus, if not at the services' own")
    token_seconds: int = Field(default=LONGEST_SECONDS, ge=1, le=LONGEST_SECONDS, description="how long a token lasts")
    address_failures: int = Field(
        default=50, ge=0, description="failed logins from an address before it waits; 0 for never"
    )
    second_factor_roles: list[Role] = Field(default=[], description="roles that nobody has without a second factor")
    session_seconds: int = Field(default=30 * 86400, ge=60, description="how long a session lasts, however it is used")
    session_idle_seconds: int = Field(default=7 * 86400, ge=60, description="after how long unused it ends")
    refresh_grace_seconds: float = Field(
        default=10, ge=0, le=60, description="how long the same refresh again gets the same answer; with 0 it is reuse"
    )

    provider_inside: bool = Field(
        default=False, description="identity providers may have private, loopback and link-local addresses"
    )
    provider_seconds: float = Field(default=5, gt=0, description="how long an identity provider may take to answer")

    @property
    def lifetimes(self) -> Lifetimes:
        seconds = (self.session_seconds, self.session_idle_seconds, self.refresh_grace_seconds)
        return Lifetimes(*(timedelta(seconds=each) for each in seconds))

    def guarded(self) -> tuple[Guarded, ...]:
        """Whoever knows the callout's secret comes onto the bus as an extension, from wherever it is reached."""
        secret = self.callout_secret.get_secret_value()
        own = (Guarded(self.variable("callout_secret"), "nats://anywhere", secret),) if secret else ()
        return *super().guarded(), *own
