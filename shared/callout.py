"""Keys and claims of the bus's auth callout: who is none of its own users is let in by auth, which signs for it.

NATS names keys in base32 with a prefix and a CRC, and wants JWTs signed with Ed25519; both follow from one secret.
"""

import base64
import binascii
import hashlib
import json
import time
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from shared.names import new_id

CALLOUT_SUBJECT = "$SYS.REQ.USER.AUTH"
SYSTEM_ACCOUNT, SYSTEM_USER = "$SYS", "system"
ACCOUNT = "$G"
_ACCOUNT_PREFIX = 0


class Issuer:
    """The account key that signs who may come in, and the password that may cut them off, of one secret."""

    def __init__(self, secret: str) -> None:
        self._key = Ed25519PrivateKey.from_private_bytes(hashlib.sha256(f"issuer {secret}".encode()).digest())
        self.name = _key_name(_ACCOUNT_PREFIX, self._key.public_key().public_bytes_raw())
        self.system_password = hashlib.sha256(f"system {secret}".encode()).hexdigest()

    def admission(self, request: dict[str, Any], name: str, permissions: dict[str, Any]) -> bytes:
        """The answer that lets in who asked, under this name, with these permissions and limits."""
        user = {"type": "user", "version": 2, "subs": -1, "data": -1, "payload": -1, **permissions}
        return self._answer(request, jwt=self._signed({"aud": ACCOUNT, "name": name, "nats": user}, request))

    def refusal(self, request: dict[str, Any], reason: str) -> bytes:
        """The answer that lets nobody in; the reason stands in the log of the bus only."""
        return self._answer(request, error=reason)

    def _answer(self, request: dict[str, Any], **answer: str) -> bytes:
        nats = {"type": "authorization_response", "version": 2, **answer}
        return self._signed({"aud": request["nats"]["server_id"]["id"], "nats": nats}, request).encode()

    def _signed(self, claims: dict[str, Any], request: dict[str, Any]) -> str:
        given = {"iss": self.name, "sub": request["nats"]["user_nkey"], "iat": int(time.time()), "jti": new_id()}
        head = _packed({"typ": "JWT", "alg": "ed25519-nkey"})
        signed = f"{head}.{_packed(given | claims)}"
        return f"{signed}.{_base64(self._key.sign(signed.encode()))}"


def claims_of(token: bytes) -> dict[str, Any]:
    """What the server says of who wants to come in; only the server can publish where this comes from.

    Raises ValueError for what is no token.
    """
    body = token.split(b".")[1]
    claims: dict[str, Any] = json.loads(base64.urlsafe_b64decode(body + b"=" * (-len(body) % 4)))
    return claims


def _key_name(prefix: int, raw: bytes) -> str:
    body = bytes([prefix]) + raw
    return base64.b32encode(body + binascii.crc_hqx(body, 0).to_bytes(2, "little")).decode().rstrip("=")


def _packed(claims: dict[str, Any]) -> str:
    return _base64(json.dumps(claims, separators=(",", ":")).encode())


def _base64(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).decode().rstrip("=")
