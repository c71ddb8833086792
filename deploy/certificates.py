"""A private CA with certificates for the bus and each service: `./justw certificates FOLDER [--host NAME ...]`.

Run again it keeps the CA and makes new certificates, which services and servers read when they start.
"""

import argparse
import ipaddress
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, load_pem_private_key
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from deploy.embedded.launch import write_private
from shared.streams import SERVICES

CA, BUS = "ca", "nats"
HOSTS = ("localhost", "127.0.0.1", "nats")
CA_DAYS, DAYS = 3650, 397
USES = ("digital_signature", "content_commitment", "key_encipherment", "data_encipherment", "key_agreement")
SIGNS = x509.KeyUsage(
    **dict.fromkeys(USES, False), key_cert_sign=True, crl_sign=True, encipher_only=False, decipher_only=False
)
EARLIER = timedelta(minutes=5)
Key = ec.EllipticCurvePrivateKey


class Authority:
    """Who signs; kept in the folder as ca.pem and ca.key."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        if not (folder / f"{CA}.key").exists():
            self._make()
        found = load_pem_private_key((folder / f"{CA}.key").read_bytes(), None)
        assert isinstance(found, Key)
        self._key, self._certificate = found, x509.load_pem_x509_certificate((folder / f"{CA}.pem").read_bytes())

    def _make(self) -> None:
        key = ec.generate_private_key(ec.SECP256R1())
        builder = _builder("AI Mass private CA", key, CA_DAYS).issuer_name(_name("AI Mass private CA"))
        builder = builder.add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        builder = builder.add_extension(SIGNS, critical=True)
        builder = builder.add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        _write(self._folder, CA, key, builder.sign(key, hashes.SHA256()))

    def sign(self, name: str, hosts: Sequence[str] = ()) -> None:
        """Write NAME.pem and NAME.key: of a server for these hosts, or of a client without any."""
        key = ec.generate_private_key(ec.SECP256R1())
        use = ExtendedKeyUsageOID.SERVER_AUTH if hosts else ExtendedKeyUsageOID.CLIENT_AUTH
        builder = _builder(name, key, DAYS).issuer_name(self._certificate.subject)
        builder = builder.add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        builder = builder.add_extension(x509.ExtendedKeyUsage([use]), critical=False)
        issuer = x509.AuthorityKeyIdentifier.from_issuer_public_key(self._key.public_key())
        builder = builder.add_extension(issuer, critical=False)
        names = x509.SubjectAlternativeName([_host(host) for host in hosts or (name,)])
        builder = builder.add_extension(names, critical=False)
        _write(self._folder, name, key, builder.sign(self._key, hashes.SHA256()))


def _builder(name: str, key: Key, days: int) -> x509.CertificateBuilder:
    now = datetime.now(UTC)
    builder = x509.CertificateBuilder().subject_name(_name(name)).public_key(key.public_key())
    builder = builder.serial_number(x509.random_serial_number())
    return builder.not_valid_before(now - EARLIER).not_valid_after(now + timedelta(days=days))


def _name(name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])


def _host(host: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(host))
    except ValueError:
        return x509.DNSName(host)


def _write(folder: Path, name: str, key: Key, certificate: x509.Certificate) -> None:
    text = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()
    write_private(folder / f"{name}.key", text)
    (folder / f"{name}.pem").write_bytes(certificate.public_bytes(Encoding.PEM))


def make(folder: Path, hosts: Sequence[str] = ()) -> None:
    """The CA where there is none; new certificates of the bus, of the gateway for its callers, and of each client."""
    authority = Authority(folder)
    authority.sign(BUS, [*HOSTS, *hosts])
    authority.sign("edge", [*HOSTS, *hosts])
    for service in (*SERVICES, "admin"):
        authority.sign(service)


def main() -> None:
    parser = argparse.ArgumentParser(prog="just certificates", description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--host", action="append", default=[], help="a name or address of the bus and of the gateway")
    asked = parser.parse_args()
    make(asked.folder, asked.host)
    print(f"{asked.folder}: ca.pem, nats.pem and edge.pem for servers, a certificate for each service, and their keys")


if __name__ == "__main__":
    main()
