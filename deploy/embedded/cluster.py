"""Makes PostgreSQL's data folder."""

import secrets
import shutil
import subprocess
from pathlib import Path

from deploy.embedded.launch import write_private
from deploy.embedded.servers import initdb_launch


class ClusterFailed(Exception):
    """PostgreSQL's data folder could not be made."""


def create_cluster(data: Path, password: str) -> None:
    """Make the folder whole or not at all; one that exists is kept.

    The draft has a new name each time: who was killed may have left an initdb that still writes into the last one.
    """
    if data.exists():
        return
    for left in data.parent.glob(f"{data.name}.draft*"):
        shutil.rmtree(left, ignore_errors=True)
    draft = data.with_name(f"{data.name}.draft-{secrets.token_hex(4)}")
    run_initdb(draft, password)
    draft.rename(data)


def run_initdb(data: Path, password: str) -> None:
    password_file = data.with_name("password.draft")
    write_private(password_file, password)
    command = initdb_launch(data, password_file).write(data.with_name("initdb.json"))
    try:
        result = subprocess.run(command, check=False, stdin=subprocess.DEVNULL, capture_output=True, text=True)
    finally:
        password_file.unlink()
    if result.returncode != 0:
        raise ClusterFailed(f"initdb failed: {result.stdout}{result.stderr}")
