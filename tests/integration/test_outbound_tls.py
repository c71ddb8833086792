"""Webhooks over TLS: the certificate is checked against the name, although an address is what is connected to."""

import ssl
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from shared.outbound import Outbound, Unreached
from tests.integration.test_outbound import listening


def write_certificate(folder: Path, host: str) -> tuple[Path, Path]:
    """A certificate for a host that signs itself, and its key."""
    key, now = ec.generate_private_key(ec.SECP256R1()), datetime.now(UTC)
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, host)])
    made = x509.CertificateBuilder(
        name, name, key.public_key(), x509.random_serial_number(), now, now + timedelta(days=1)
    )
    made = made.add_extension(x509.SubjectAlternativeName([x509.DNSName(host)]), critical=False)
    made = made.add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
    files = folder / f"{host}.pem", folder / f"{host}.key"
    files[0].write_bytes(made.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM))
    plain = serialization.NoEncryption()
    files[1].write_bytes(key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, plain))
    return files


def server_side(certificate: Path, key: Path) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    return context


@pytest.mark.parametrize(
    ("host", "is_known", "taken"), [("localhost", True, 1), ("elsewhere", True, 0), ("localhost", False, 0)]
)
async def test_certificates(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, host: str, is_known: bool, taken: int
) -> None:
    """One for the name and from an authority that is known is taken; no other is."""
    files = write_certificate(tmp_path, host)
    if is_known:
        monkeypatch.setenv("SSL_CERT_FILE", str(files[0]))
    async with listening(tls=server_side(*files)) as listener:
        outbound, url = Outbound(5, inside=True), f"https://localhost:{listener.port}/"
        if taken:
            assert await outbound.post(url, {}, b"{}") == 200
        else:
            with pytest.raises(Unreached):
                await outbound.post(url, {}, b"{}")
        assert listener.connections == taken
