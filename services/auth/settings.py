"""The settings of auth."""

from pathlib import Path

from pydantic import Field, SecretStr
from pydantic_settings import SettingsConfigDict

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

    def guarded(self) -> tuple[Guarded, ...]:
        """Whoever knows the callout's secret comes onto the bus as an extension, from wherever it is reached."""
        secret = self.callout_secret.get_secret_value()
        own = (Guarded(self.variable("callout_secret"), "nats://anywhere", secret),) if secret else ()
        return *super().guarded(), *own
