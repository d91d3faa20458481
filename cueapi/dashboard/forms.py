"""What an HTML form sent."""

import re
from typing import Any, cast
from urllib.parse import parse_qsl

from attrs import frozen
from quart import request

from cueapi.domain.errors import Refusal
from cueapi.off_loop import off_loop

FIELDS = 1_000
"""The most fields of a form: a selection of rows has one for each."""

_NONCE = re.compile(r"[A-Za-z0-9-]{1,64}")


@frozen
class Form:
    """The fields of a form, each with its values in the order in which they were sent."""

    values: dict[str, list[str]]
    size: int = 0
    """Its bytes, as they were sent."""

    def text(self, name: str) -> str:
        """The value of a field, without blanks around it; empty where it was not sent."""
        return self.values.get(name, [""])[0].strip()

    def whole_text(self, name: str) -> str:
        """As `text`, with its blanks; lines end with a line feed, as they were typed."""
        return self.values.get(name, [""])[0].replace("\r\n", "\n")

    def has(self, name: str) -> bool:
        """Whether a box was ticked, or a button pressed."""
        return name in self.values

    def all(self, name: str) -> list[str]:
        """Every value of a field."""
        return self.values.get(name, [])


def once(form: Form) -> dict[str, str]:
    """
    What makes a second click on the same page harmless: the page's nonce, as the contract takes it.

    Refuses a damaged one: it could be no header, and without it a second click would not be known.
    """
    nonce = form.text("nonce")
    if not nonce:
        return {}
    if _NONCE.fullmatch(nonce) is None:
        raise Refusal("invalid_payload", "The field nonce of the form is damaged; load its page again.")
    return {"Idempotency-Key": f"page-{nonce}"}


async def read_form() -> Form:
    """The form of the request (`application/x-www-form-urlencoded`). Refuses any other body but an empty one."""
    data = await cast(Any, request.body).read()
    if data and request.mimetype != "application/x-www-form-urlencoded":
        raise Refusal("unsupported_media_type", "The body must be a form (application/x-www-form-urlencoded).")
    return Form(await off_loop(_values_of, data, size=len(data)), len(data))


def _values_of(data: bytes) -> dict[str, list[str]]:
    values: dict[str, list[str]] = {}
    try:
        for name, value in parse_qsl(data.decode("utf-8", "replace"), keep_blank_values=True, max_num_fields=FIELDS):
            values.setdefault(name, []).append(value)
    except ValueError:
        raise Refusal("invalid_payload", f"The form has more than {FIELDS} fields.") from None
    return values
