"""What is stored encrypted, and what each value belongs to: in another place it cannot be read."""

from enum import StrEnum
from typing import Protocol


class Confidential(StrEnum):
    """Each kind of value has a key of its own. The owner is a user's id, where nothing else is said."""

    API_KEY = "api key"
    WEBHOOK_SECRET = "webhook secret"
    """Also the former one, while it signs beside the new one."""
    ALERT_SECRET = "alert webhook secret"
    CALLBACK_HEADERS = "callback headers"
    """A JSON object; the owner is the cue's id."""
    ANSWER = "answer under an idempotency key"
    ECHO_HEADERS = "headers of an echo"
    """A JSON object; the owner is the token."""
    CHANNEL = "place of a channel"
    """A JSON object; the owner is the channel's id."""
    LINK = "link in a mail"
    """The owner is the recipient's address."""


class Decrypt(Protocol):
    """Reads what was encrypted for a purpose and an owner; None where that was not done with this SESSION_SECRET."""

    def __call__(self, ciphertext: bytes, purpose: str, owner: object) -> str | None:
        """The text."""
        ...
