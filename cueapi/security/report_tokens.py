"""Tokens for reports: each opens one attempt of one execution, under a key derived from SESSION_SECRET."""

import base64
import hmac
import re
from uuid import UUID

from attrs import field, frozen
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

PATH = "/v1/report/"
"""Where a token stands in a URL, behind the address of the server."""

_SIGNATURE = 18
"""Bytes of a signature: an HMAC cut to 144 bits (RFC 2104, 5, asks for half of its length at least)."""

# 36 bytes are 48 characters without padding: no two texts are one token.
_TOKEN = re.compile(r"run_[A-Za-z0-9_-]{48}")


@frozen
class ReportTokens:
    """
    Writes and reads tokens under one secret; nothing of them is stored.

    Writing one costs an HMAC: each delivery carries one.
    """

    _base_url: str
    _key: bytes = field(repr=False)

    @classmethod
    def of(cls, secret: str, base_url: str) -> "ReportTokens":
        """Those of a session secret, for a server that is reached at *base_url*."""
        return cls(base_url.rstrip("/"), HKDF(SHA256(), 32, salt=None, info=b"cueapi reports").derive(secret.encode()))

    def url(self, execution: UUID, attempt: int) -> str:
        """Where the handler of that attempt reports."""
        return f"{self._base_url}{PATH}{self.write(execution, attempt)}"

    def write(self, execution: UUID, attempt: int) -> str:
        """The token of an attempt, which is below 65,536."""
        content = execution.bytes + attempt.to_bytes(2, "big")
        return "run_" + base64.urlsafe_b64encode(content + self._sign(content)).decode()

    def read(self, token: str) -> tuple[UUID, int] | None:
        """The execution and the attempt that *token* was written for; None for every other text."""
        if not _TOKEN.fullmatch(token):
            return None
        data = base64.urlsafe_b64decode(token[4:])
        content, signature = data[:-_SIGNATURE], data[-_SIGNATURE:]
        if not hmac.compare_digest(signature, self._sign(content)):
            return None
        return UUID(bytes=content[:16]), int.from_bytes(content[16:], "big")

    def _sign(self, content: bytes) -> bytes:
        return hmac.digest(self._key, content, "sha256")[:_SIGNATURE]
