"""A rotation of the keys that seal secrets, while nobody seals them anew: what a secret needs is not forgotten."""

import json
from pathlib import Path
from types import SimpleNamespace
from typing import cast

import psycopg
import pytest

from deploy.embedded import rotation
from deploy.embedded.stack import Stack
from shared.sealing import add_key, read_keys
from tests.conftest import DatabaseUrls

CONTEXT = "second factor of user-1"


def test_keys_that_a_secret_needs_are_kept(
    database_urls: DatabaseUrls, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rotation, "SEALED", {"auth": ("second_factors.sealed",)})
    info = {"postgres": database_urls.server.dsn_for(database_urls.name)}
    stack = cast(Stack, SimpleNamespace(info=info, home=SimpleNamespace(path=tmp_path)))
    file = tmp_path / "work" / "auth" / "seal.keys"
    sealed = add_key(file).seal(b"secret", CONTEXT)
    with psycopg.connect(info["postgres"], autocommit=True) as connection:
        connection.execute("SET session_replication_role = replica")  # there is no such user here
        connection.execute("INSERT INTO auth.second_factors (user_id, sealed) VALUES ('user-1', %s)", (sealed,))
    for keys in (2, 3):
        with pytest.raises(TimeoutError, match="auth: 1 secrets are not sealed anew yet"):
            list(rotation.rotate(stack, seconds=0.1))
        assert len(json.loads(file.read_text())["keys"]) == keys
        assert read_keys(file).open(sealed, CONTEXT) == b"secret"
