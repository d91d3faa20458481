"""What is shown of values that may be secret: their names alone."""

import re
from collections.abc import Mapping
from typing import Any

MASK = "••••••"

_SECRET = re.compile(r"auth|cookie|key|token|secret|passw|pwd?(?![a-z])|credential|session", re.IGNORECASE)

_PASSWORD = re.compile(r"([a-z][a-z0-9+.-]*://)[^/?#\s]*@", re.IGNORECASE)

_PARAMETER = re.compile(
    r"([?&][^=&#\s]*(auth|cookie|key|token|secret|passw|pwd?(?![a-z])|credential|session|sig)[^=&#\s]*=)[^&#\s]*",
    re.IGNORECASE,
)


def is_named_secret(name: str) -> bool:
    """Whether a header or a field is named as secrets are."""
    return _SECRET.search(name) is not None


def without_secrets(text: str) -> str:
    """*text* whose URLs have no passwords, and no values of parameters that are named like secrets."""
    return _PARAMETER.sub(rf"\1{MASK}", _PASSWORD.sub(rf"\1{MASK}@", text))


def masked(name: str, value: Any) -> Any:  # noqa: ANN401 (JSON)
    """JSON without secrets: what is named like one, here or below, and what URLs hold of them. Null stays."""
    if value is not None and is_named_secret(name):
        return MASK
    if isinstance(value, Mapping):
        return {key: masked(key, one) for key, one in value.items()}
    if isinstance(value, list):
        return [masked("", one) for one in value]
    return without_secrets(value) if isinstance(value, str) and "://" in value else value
