"""Compares the contracts of record with those of the last release: whoever reads v1 today must read it tomorrow."""

import subprocess
import sys
import tarfile
import tempfile
from io import BytesIO
from pathlib import Path

from deploy.provision import ROOT

SCHEMAS = "proto-schemas"
RELEASES = "v[0-9]*"
BUF = Path(sys.executable).with_name("buf")


def last_release(root: Path) -> str | None:
    """The newest release tag that leads to this commit, if there is one."""
    command = ["git", "-C", str(root), "describe", "--tags", "--abbrev=0", "--match", RELEASES]
    found = subprocess.run(command, capture_output=True, text=True)
    return found.stdout.strip() if found.returncode == 0 else None


def unpack(root: Path, tag: str, folder: Path) -> Path:
    """Lay the schemas down as they were at a tag."""
    command = ["git", "-C", str(root), "archive", "--format=tar", tag, SCHEMAS]
    packed = subprocess.run(command, capture_output=True, check=True).stdout
    with tarfile.open(fileobj=BytesIO(packed)) as archive:
        archive.extractall(folder, filter="data")
    return folder / SCHEMAS


def check(root: Path) -> int:
    """0 when nothing breaks or nothing was released yet; otherwise buf says what breaks."""
    tag = last_release(root)
    if tag is None:
        print("proto: no release is tagged yet, so nothing can break")
        return 0
    with tempfile.TemporaryDirectory() as scratch:
        released = unpack(root, tag, Path(scratch))
        status = subprocess.run([str(BUF), "breaking", SCHEMAS, "--against", str(released)], cwd=root).returncode
    print(f"proto: {'compatible with' if status == 0 else 'breaks readers of'} {tag}")
    return status


if __name__ == "__main__":
    sys.exit(check(ROOT))
