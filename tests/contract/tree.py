"""A copy of the tree that a test may change, with the checkout's environment beside it."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
BIN = Path(sys.executable).parent
COMPILED = {"__pycache__", "*.pyc"}
BEING_WRITTEN = "*.pyc.*"
NOT_PASSED_ON = ("GIT_", "COV", "PYTEST", "PYTHONDONTWRITEBYTECODE")


class Tree:
    """A copy of everything that git would track, with the modules that are compiled already."""

    def __init__(self, path: Path) -> None:
        self.path = path
        left_out = {line.rstrip("/") for line in (ROOT / ".gitignore").read_text().splitlines()} - COMPILED
        shutil.copytree(ROOT, path, ignore=shutil.ignore_patterns(".git", BEING_WRITTEN, *left_out))
        (path / ".venv").symlink_to(BIN.parent)

    def run(self, *command: str | Path) -> subprocess.CompletedProcess[str]:
        """Run a command in the copy, on the copy's own modules, whatever it returns."""
        kept = {name: value for name, value in os.environ.items() if not name.startswith(NOT_PASSED_ON)}
        environment = kept | {"PYTHONPATH": str(self.path), "PRE_COMMIT_HOME": str(self.path / ".aimass" / "hooks")}
        command_line = [str(part) for part in command]
        return subprocess.run(command_line, cwd=self.path, env=environment, capture_output=True, text=True)

    def succeed(self, *command: str | Path) -> str:
        """Run a command that must succeed; returns what it printed."""
        done = self.run(*command)
        assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"
        return done.stdout

    def python(self, *arguments: str) -> str:
        return self.succeed(sys.executable, *arguments)

    def test(self, *arguments: str) -> str:
        return self.python("-m", "pytest", "-q", "-x", "-p", "no:cacheprovider", *arguments)

    def git(self, *arguments: str) -> str:
        identity = ("-c", "user.name=test", "-c", "user.email=test@localhost", "-c", "commit.gpgsign=false")
        return self.succeed("git", *identity, *arguments)

    def commit(self) -> None:
        """Make the copy a repository of its own, or commit what changed in it."""
        self.git("init", "-q")
        self.git("add", "--all")
        self.git("commit", "-q", "--no-verify", "-m", "test")
