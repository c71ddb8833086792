"""Every route as the OpenAPI document describes it, asked by schemathesis in all roles: python -m tests.schema.walk.

Prints what each role's walk found; ends with 1 where an answer was a failure of ours, or not in the document.
"""

import argparse
import re
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import httpx

from deploy.embedded.stack import Stack
from shared.permissions import Role

CONFIG = Path(__file__).with_name("schemathesis.toml")
ROLES = (Role.ADMIN, Role.ENGINEER, Role.VIEWER)
SECONDS = 3600
GENERATED = re.compile(r"(\d+) generated")


@dataclass(frozen=True)
class Walk:
    """One role's walk over all routes."""

    role: Role
    cases: int
    is_clean: bool
    told: str


def walk(stack: Stack, role: Role, options: Sequence[str]) -> Walk:
    """Ask every route in this role, with a key made for it, one request after another.

    A walk of several workers breaks at random: until 3.11.8 Python could not parse in two threads at once (gh-106905).
    Raises RuntimeError when the key does not count any more at the end: the walk was not one of this role then.
    """
    key = _key_of(stack, role)
    folder = stack.home.path / "work" / f"walk-{role.value}"  # it writes down what it found where it stands
    folder.mkdir(parents=True, exist_ok=True)
    told = subprocess.run(
        [
            *(sys.executable, "-m", "schemathesis.cli", "--config-file", str(CONFIG), "run"),
            *(f"{stack.info['gateway']}/openapi.json", "--header", f"Authorization: Bearer {key}"),
            *("--request-timeout", "20", "--continue-on-failure", "--no-color", *options),
        ],
        capture_output=True,
        text=True,
        timeout=SECONDS,
        check=False,
        cwd=folder,
    )
    if _client(stack, key).get("/api/v1/me").status_code != 200:
        raise RuntimeError(f"the key of the {role.value} was revoked on the way")
    cases = GENERATED.search(told.stdout)
    return Walk(role, int(cases[1]) if cases else 0, told.returncode == 0, told.stdout + told.stderr)


def _client(stack: Stack, key: str) -> httpx.Client:
    return httpx.Client(base_url=stack.info["gateway"], headers={"Authorization": f"Bearer {key}"}, timeout=30)


def _key_of(stack: Stack, role: Role) -> str:
    admin = Path(stack.info["admin_key_file"]).read_text().strip()
    made = _client(stack, admin).post("/api/v1/api-keys", json={"name": f"walk as {role.value}", "roles": [role.value]})
    return str(made.raise_for_status().json()["secret"])


def main() -> int:
    parser = argparse.ArgumentParser(prog="just walk", description=__doc__)
    parser.add_argument("--seed", type=int, default=1, help="the same cases again")
    parser.add_argument("--examples", type=int, default=20, help="random cases a route, beside those of its limits")
    told = parser.parse_args()
    options = ("--phases", "coverage,fuzzing", "--max-examples", str(told.examples), "--seed", str(told.seed))
    stack = Stack(Path(tempfile.mkdtemp(prefix="aimass-walk-")))
    try:
        stack.up()
        with ThreadPoolExecutor(len(ROLES)) as side_by_side:
            walks = list(side_by_side.map(lambda role: walk(stack, role, options), ROLES))
    finally:
        stack.down()
    for one in walks:
        print(one.told if not one.is_clean else "", f"{one.role.value}: {one.cases} cases", sep="\n", flush=True)
    print(f"{sum(one.cases for one in walks)} cases, seed {told.seed}")
    return 0 if all(one.is_clean for one in walks) else 1


if __name__ == "__main__":
    sys.exit(main())
