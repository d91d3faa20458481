"""Encrypts what is stored and must be read again, under keys derived from SESSION_SECRET."""

import hashlib
import os

from attrs import field, frozen
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

NONCE = 12
"""Bytes of a nonce (NIST SP 800-38D, 8.2.2): random, anew for each value."""


@frozen
class Vault:
    """
    Encrypts and decrypts under one secret: AES-256-GCM, with a key of its own for each purpose (HKDF, RFC 5869).

    A ciphertext belongs to its *purpose* and to its *owner*: copied to another row or column it does not decrypt. Its
    first bytes are the *key_id*, by which SQL can tell what was encrypted under another secret.
    """

    key_id: bytes
    _secret: bytes = field(repr=False)
    _ciphers: dict[str, AESGCM] = field(init=False, factory=dict, repr=False)

    @classmethod
    def of(cls, secret: str) -> "Vault":
        """The vault of a session secret."""
        return cls(hashlib.sha256(b"cueapi fingerprint" + secret.encode()).digest()[:8], secret.encode())

    @property
    def fingerprint(self) -> str:
        """What tells this secret from others, and nothing else of it."""
        return self.key_id.hex()

    def encrypt(self, text: str, purpose: str, owner: object) -> bytes:
        """*text*, readable under this secret only, for *purpose* and *owner* only."""
        nonce = os.urandom(NONCE)
        return self.key_id + nonce + self._cipher(purpose).encrypt(nonce, text.encode(), str(owner).encode())

    def decrypt(self, ciphertext: bytes, purpose: str, owner: object) -> str | None:
        """What was encrypted; None where that was under another secret, for another owner, or where it was changed."""
        start = len(self.key_id)
        nonce, content = ciphertext[start : start + NONCE], ciphertext[start + NONCE :]
        if not ciphertext.startswith(self.key_id) or len(nonce) < NONCE:
            return None
        try:
            return self._cipher(purpose).decrypt(nonce, content, str(owner).encode()).decode()
        except InvalidTag:
            return None

    def _cipher(self, purpose: str) -> AESGCM:
        if purpose not in self._ciphers:
            key = HKDF(SHA256(), 32, salt=None, info=b"cueapi " + purpose.encode()).derive(self._secret)
            self._ciphers[purpose] = AESGCM(key)
        return self._ciphers[purpose]
