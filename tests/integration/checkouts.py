"""Checkouts for tests of the setup: copies of this one, and one whose packages are tiny wheels made here."""

import os
import re
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Iterable, Mapping
from pathlib import Path

from deploy.bootstrap import JUST, JUST_VERSION, ROOT
from deploy.install import SERVER, STUB, TRITON_PACKAGES
from deploy.machine import VERSION

LEFT_OUT = shutil.ignore_patterns(".*", "__pycache__", "reference")
ENVIRONMENTS = (".venv", ".venv-triton")
SETUP = ("justw", "justfile", "deploy")
CHECKS = {"CHECK_MAIN": "import tiny_main", "CHECK_TRITON": "import tiny_triton"}
Files = Mapping[str, bytes]


def copy(folder: Path) -> Path:
    """This checkout as it is now, with the same environments."""
    shutil.copytree(ROOT, folder, ignore=LEFT_OUT)
    for name in ENVIRONMENTS:
        (folder / name).symlink_to(ROOT / name)
    return folder


def python(checkout: Path, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run the checkout's Python as its recipes do, without HOME."""
    command = [str(checkout / ".venv" / "bin" / "python"), *arguments]
    surroundings = {"PATH": os.environ["PATH"], "LANG": "C", "PYTHONPATH": str(checkout), **environment}
    return subprocess.run(command, cwd=checkout, env=surroundings, capture_output=True, text=True, timeout=120)


def wheel(folder: Path, name: str, version: str, files: Files, tag: str = "py3-none-any") -> None:
    """A wheel of these files; those below `scripts/` go beside the interpreter."""
    name = name.replace("-", "_")
    information, data = f"{name}-{version}.dist-info", f"{name}-{version}.data"
    content = {path.replace("scripts/", f"{data}/scripts/"): body for path, body in files.items()}
    content[f"{information}/METADATA"] = f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n".encode()
    content[f"{information}/WHEEL"] = f"Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: {tag}\n".encode()
    record = "".join(f"{path},,\n" for path in [*content, f"{information}/RECORD"])
    content[f"{information}/RECORD"] = record.encode()
    folder.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(folder / f"{name}-{version}-{tag}.whl", "w") as archive:
        for path, body in content.items():
            entry = zipfile.ZipInfo(path)
            entry.external_attr = 0o100755 << 16
            archive.writestr(entry, body)


def tiny(folder: Path) -> Path:
    """A checkout that installs in seconds and without a network: its locks name wheels beside it."""
    folder.mkdir()
    for name in SETUP:
        source = ROOT / name
        shutil.copytree(source, folder / name, ignore=LEFT_OUT) if source.is_dir() else shutil.copy2(source, folder)
    program = Path("/bin/true").read_bytes()
    wheels = folder / "wheels"
    wheel(wheels, "rust-just", JUST_VERSION, {"scripts/just": JUST.read_bytes()})
    wheel(wheels, "tiny-main", "1", {"tiny_main.py": b""})
    wheel(wheels, "tiny-triton", "1", {"tiny_triton.py": b"", **triton_files(program)})
    (folder / "requirements.lock").write_text("tiny-main==1\n")
    (folder / "deploy" / "triton" / "requirements.lock").write_text("tiny-triton==1\n")
    script = folder / "deploy" / "install.py"
    script.write_text(replaced(script.read_text(), CHECKS))
    return folder


def triton_files(program: bytes) -> dict[str, bytes]:
    server = SERVER.relative_to(TRITON_PACKAGES)
    stub = server.parents[1] / "python_backend_stubs" / VERSION / STUB.name
    backend = STUB.relative_to(TRITON_PACKAGES).parent / "README"
    return {str(server): program, str(stub): program, str(backend): b""}


def replaced(text: str, constants: Mapping[str, str]) -> str:
    for name, value in constants.items():
        text = re.sub(rf"^{name} = .*$", f"{name} = {value!r}", text, flags=re.MULTILINE)
    return text


def tiny_environment(checkout: Path) -> dict[str, str]:
    """No HOME, no network, wheels from beside."""
    path = os.pathsep.join([str(Path(sys.base_prefix) / "bin"), "/usr/bin", "/bin"])
    return {"PATH": path, "PIP_NO_INDEX": "1", "PIP_FIND_LINKS": (checkout / "wheels").as_uri(), "LANG": "C.UTF-8"}


def justw(checkout: Path, *arguments: str, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    command, environment = [str(checkout / "justw"), *arguments], tiny_environment(checkout)
    return subprocess.run(command, cwd=cwd or checkout, env=environment, capture_output=True, text=True, timeout=120)


def interpreters(folder: Path, versions: Mapping[str, str], lacking: Iterable[str] = ()) -> Path:
    """A PATH with nothing but stand-ins of Python that say these versions and lack these modules."""
    folder.mkdir()
    (folder / "dirname").symlink_to(str(shutil.which("dirname")))
    for name, version in versions.items():
        pretence = f"import sys; sys.version_info = ({version.replace('.', ', ')}, 0)\n"
        pretence += "".join(f"sys.modules['{module}'] = None\n" for module in lacking)
        script = folder / name
        script.write_text(f'#!/bin/sh\nexec "{sys.executable}" -c "{pretence}exec(sys.argv[1])" "$2"\n')
        script.chmod(0o755)
    return folder
