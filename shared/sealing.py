"""Sealing: secrets that must be readable again are kept encrypted, with keys that lie in a file outside the database.

AES-256-GCM (NIST SP 800-38D) with a random nonce; what a secret is for is authenticated with it, so that none can take
the place of another.
"""

import json
import os
import secrets
import tempfile
from collections.abc import Sequence
from hashlib import sha256
from pathlib import Path

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from shared.errors import AimassError

FORM = b"\x01"
NAME_BYTES, NONCE_BYTES, KEY_BYTES = 8, 12, 32
HEAD = len(FORM) + NAME_BYTES + NONCE_BYTES


class NotOurs(AimassError):
    """This secret was not sealed here, or its key is gone: restore the file of keys from the backup."""

    code = "not_ours"


class Sealer:
    """Seals with the first of its keys and opens with any; keys have 32 random bytes."""

    def __init__(self, keys: Sequence[bytes]) -> None:
        if not keys or any(len(key) != KEY_BYTES for key in keys):
            raise ValueError(f"keys that seal have {KEY_BYTES} bytes each, and there is at least one")
        self._ciphers = {_name(key): AESGCM(key) for key in keys}
        self._current = _name(keys[0])

    def seal(self, secret: bytes, context: str) -> bytes:
        """The secret as only the same keys and the same context open it: form, name of the key, nonce, ciphertext."""
        nonce = secrets.token_bytes(NONCE_BYTES)
        sealed = self._ciphers[self._current].encrypt(nonce, secret, context.encode())
        return FORM + self._current + nonce + sealed

    def open(self, sealed: bytes, context: str) -> bytes:
        """Raises NotOurs for what was sealed with another key, for another purpose, or altered since."""
        name, nonce = sealed[len(FORM) : len(FORM) + NAME_BYTES], sealed[len(FORM) + NAME_BYTES : HEAD]
        cipher = self._ciphers.get(name)
        if cipher is None or sealed[: len(FORM)] != FORM or len(nonce) != NONCE_BYTES:
            raise NotOurs
        try:
            return cipher.decrypt(nonce, sealed[HEAD:], context.encode())
        except InvalidTag:
            raise NotOurs from None

    @property
    def current(self) -> bytes:
        """The name of the key that seals now; what it sealed has it from the second byte on."""
        return self._current

    def is_current(self, sealed: bytes) -> bool:
        """Whether the key that seals now sealed this."""
        return sealed[len(FORM) : len(FORM) + NAME_BYTES] == self._current


def _name(key: bytes) -> bytes:
    return sha256(b"aimass key " + key).digest()[:NAME_BYTES]


def read_keys(file: Path) -> Sealer:
    """The sealer of a file of keys.

    Raises ValueError where the file is missing, readable for others, or holds no keys.
    """
    try:
        status, text = file.stat(), file.read_text()
    except OSError as error:
        raise ValueError(f"the keys that seal secrets cannot be read from {file}: {error.strerror}") from None
    if status.st_mode & 0o077:
        raise ValueError(f"{file} can be read by others: chmod 600 {file}")
    return Sealer([bytes.fromhex(key) for key in json.loads(text)["keys"]])


class KeyFile:
    """A file of keys as it is now, read again when it was changed; made where there is none."""

    def __init__(self, file: Path) -> None:
        self._file, self._read_at = file, -1
        self._sealer: Sealer | None = None

    def sealer(self) -> Sealer:
        if not self._file.exists():
            self._sealer = add_key(self._file)
        changed = self._file.stat().st_mtime_ns
        if self._sealer is None or changed != self._read_at:
            self._sealer, self._read_at = read_keys(self._file), changed
        return self._sealer


def add_key(file: Path) -> Sealer:
    """Let a new key seal from now on; the file is made where there is none, and the older keys still open."""
    older = json.loads(file.read_text())["keys"] if file.exists() else []
    _write(file, json.dumps({"keys": [secrets.token_hex(KEY_BYTES), *older]}))
    return read_keys(file)


def drop_older_keys(file: Path) -> Sealer:
    """Forget all keys but the one that seals: what they sealed is sealed anew by then."""
    _write(file, json.dumps({"keys": json.loads(file.read_text())["keys"][:1]}))
    return read_keys(file)


def _write(file: Path, text: str) -> None:
    file.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    descriptor, draft = tempfile.mkstemp(dir=file.parent, prefix=f".{file.name}.")
    with os.fdopen(descriptor, "w") as written:
        written.write(text)
        written.flush()
        os.fsync(written.fileno())
    Path(draft).rename(file)
