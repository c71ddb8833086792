"""The admin step as a process of its own, for where nobody starts the servers and services together."""

import ssl
import sys
from pathlib import Path

from pydantic import SecretStr
from pydantic_settings import BaseSettings, SettingsConfigDict

from deploy.bus import Refused
from deploy.provision import provision_bus, provision_database
from shared.settings import SECRETS_DIR
from shared.tls import client_context


class AdminSettings(BaseSettings):
    """The administrator's addresses of database and bus, and the database password of each service."""

    model_config = SettingsConfigDict(env_prefix="ADMIN_", extra="ignore", frozen=True, secrets_dir=SECRETS_DIR)

    database_url: SecretStr
    nats_url: SecretStr
    nats_ca: Path | None = None
    nats_cert: Path | None = None
    nats_key: Path | None = None
    passwords: dict[str, SecretStr]

    def bus_tls(self) -> ssl.SSLContext | None:
        return client_context(self.nats_ca, self.nats_cert, self.nats_key) if self.nats_ca else None


def main(secrets: Path | None = SECRETS_DIR) -> None:
    settings = AdminSettings(_secrets_dir=secrets)
    passwords = {service: password.get_secret_value() for service, password in settings.passwords.items()}
    provision_database(settings.database_url.get_secret_value(), passwords)
    try:
        print(provision_bus(settings.nats_url.get_secret_value(), settings.bus_tls()))
    except Refused as refused:
        print(refused)
        sys.exit("refused: the bus is left as it is, as messages or positions would be lost")
    print(f"provided for {', '.join(passwords)}")


if __name__ == "__main__":
    main()
