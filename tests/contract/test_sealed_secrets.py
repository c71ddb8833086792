"""No sealed secret is forgotten: all are sealed anew, and the keys to them are backed up and kept in Compose."""

from pathlib import Path

from deploy.backup.files import OWN_FILES
from deploy.compose.document import service
from deploy.embedded.rotation import SEALED
from services.auth.factors.store import SECRETS as FACTORS
from services.auth.oidc.store import SECRETS as PROVIDERS
from services.inference.webhooks.store import SECRETS as WEBHOOKS

KEPT = {"auth": [*FACTORS, *PROVIDERS], "inference": [WEBHOOKS]}


def test_a_rotation_waits_for_every_column() -> None:
    assert {name: {f"{one.table}.{one.column}" for one in kept} for name, kept in KEPT.items()} == {
        name: set(columns) for name, columns in SEALED.items()
    }


def test_the_keys_are_backed_up_and_outlive_a_container() -> None:
    for name in SEALED:
        assert f"work/{name}/seal.keys" in OWN_FILES
        composed = service(name)
        file = composed["environment"][f"{name.upper()}_SEAL_KEYS_FILE"]
        assert any(volume.split(":")[1] == file.rpartition("/")[0] for volume in composed["volumes"])


def test_every_table_with_sealed_secrets_is_known() -> None:
    found = {
        path.parts[-3]
        for path in (Path(__file__).resolve().parents[2] / "services").glob("*/migrations/*.sql")
        if "sealed" in path.read_text() and "bytea" in path.read_text()
    }
    assert found == set(SEALED)
