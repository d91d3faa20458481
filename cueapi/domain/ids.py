"""Ids and secrets: how they are made, and what a well-formed one looks like."""

import re
import secrets
import string
import time
from uuid import UUID

_ALPHABET = string.ascii_lowercase + string.digits
_CHOICES = len(_ALPHABET) ** 12
_CUE_ID = re.compile(r"cue_[a-z0-9]{12}")
_KEY_ID = re.compile(r"key_[a-z0-9]{12}")


def new_cue_id() -> str:
    """`cue_` and 12 random characters of `[a-z0-9]`."""
    return "cue_" + _twelve()


def new_key_id() -> str:
    """`key_` and 12 random characters of `[a-z0-9]`: it names a key, and opens nothing."""
    return "key_" + _twelve()


def _twelve() -> str:
    chance = secrets.randbelow(_CHOICES)
    signs = []
    for _ in range(12):
        chance, sign = divmod(chance, len(_ALPHABET))
        signs.append(_ALPHABET[sign])
    return "".join(signs)


def is_cue_id(text: str) -> bool:
    """True where *text* could be a cue's id; what could not needs no look-up."""
    return _CUE_ID.fullmatch(text) is not None


def is_key_id(text: str) -> bool:
    """Likewise, of a key's id."""
    return _KEY_ID.fullmatch(text) is not None


def new_uuid7() -> UUID:
    """
    A UUIDv7 (RFC 9562): the time since the epoch, to a 4,096th of a millisecond (section 6.2, method 3), then chance.

    So ids sort by creation, also those that one process makes within a millisecond.
    """
    milliseconds, rest = divmod(time.time_ns(), 1_000_000)
    fraction = (rest << 12) // 1_000_000
    return UUID(int=milliseconds << 80 | 0x7 << 76 | fraction << 64 | 0b10 << 62 | secrets.randbits(62))


def made_at(identity: UUID) -> float:
    """When a UUIDv7 was made, in seconds since the epoch."""
    return (identity.int >> 80) / 1000


def parse_uuid(text: str) -> UUID | None:
    """The execution or alert id in its canonical form, or None: anything else is no id."""
    try:
        value = UUID(text)
    except ValueError:
        return None
    return value if str(value) == text.lower() else None


def new_api_key() -> str:
    """`cue_sk_` and 32 hex digits (128 bits)."""
    return "cue_sk_" + secrets.token_hex(16)


def new_webhook_secret() -> str:
    """`whsec_` and 64 hex digits, which are base64 as well: Standard Webhooks decodes them."""
    return "whsec_" + secrets.token_hex(32)


def new_alert_secret() -> str:
    """64 hex digits."""
    return secrets.token_hex(32)


def is_device_code(text: str) -> bool:
    """
    6 to 40 letters, digits and hyphens, which the program that signs in has made up.

    It stands in a mail that anyone can have sent to anyone: it has no room for a message or a link.
    """
    return re.fullmatch(r"[A-Za-z0-9-]{6,40}", text) is not None
