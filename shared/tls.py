"""TLS of our own connections: 1.2 or later, with certificates that are looked at again when their files change."""

import ssl
from pathlib import Path


def client_context(ca: Path, certificate: Path | None = None, key: Path | None = None) -> ssl.SSLContext:
    """For who believes only what this CA signed, and shows a certificate of its own where it has one."""
    context = ssl.create_default_context(cafile=ca)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    if certificate:
        context.load_cert_chain(certificate, key)
    return context


def server_context(certificate: Path, key: Path) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.load_cert_chain(certificate, key)
    return context


class Pair:
    """A certificate and its key, whose files may be replaced at any time."""

    def __init__(self, certificate: Path, key: Path) -> None:
        self.certificate, self.key = certificate, key
        self._seen = self._times()

    def _times(self) -> tuple[tuple[int, int], ...]:
        stats = [path.stat() for path in (self.certificate, self.key)]
        return tuple((stat.st_mtime_ns, stat.st_ino) for stat in stats)

    def has_changed(self) -> bool:
        """Whether a file is another than when this was asked last; not while one is missing."""
        try:
            found = self._times()
        except OSError:
            return False
        changed, self._seen = found != self._seen, found
        return changed
