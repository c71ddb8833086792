"""Makes PostgreSQL's data folder."""

import shutil
import subprocess
from pathlib import Path

from deploy.embedded.launch import write_private
from deploy.embedded.servers import initdb_launch


class ClusterFailed(Exception):
    """PostgreSQL's data folder could not be made."""


def create_cluster(data: Path, password: str) -> None:
    """Make the folder whole or not at all; one that exists is kept."""
    if data.exists():
        return
    draft = data.with_name(f"{data.name}.draft")
    shutil.rmtree(draft, ignore_errors=True)
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
