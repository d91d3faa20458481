"""Encrypts what must be shown again (API keys), under a key derived from SESSION_SECRET."""

import base64
import hashlib

from attrs import field, frozen
from cryptography.fernet import Fernet, InvalidToken
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF


@frozen
class Vault:
    """Locks and unlocks under one secret (HKDF-SHA-256, then Fernet)."""

    _fernet: Fernet = field(repr=False)
    fingerprint: str

    @classmethod
    def of(cls, secret: str) -> "Vault":
        """The vault of a session secret."""
        key = HKDF(SHA256(), 32, salt=None, info=b"cueapi api keys").derive(secret.encode())
        fingerprint = hashlib.sha256(b"cueapi fingerprint" + secret.encode()).hexdigest()[:16]
        return cls(Fernet(base64.urlsafe_b64encode(key)), fingerprint)

    def encrypt(self, text: str) -> bytes:
        """*text*, readable under this secret only."""
        return self._fernet.encrypt(text.encode())

    def decrypt(self, ciphertext: bytes) -> str | None:
        """What was locked; None where that was under another secret."""
        try:
            return self._fernet.decrypt(ciphertext).decode()
        except InvalidToken:
            return None
