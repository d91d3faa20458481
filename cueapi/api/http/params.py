"""Query strings in: numbers, moments, words, cursors."""

import base64
import hashlib
import json
import re
from collections.abc import Iterable
from datetime import datetime
from uuid import UUID

from attrs import frozen
from quart import request

from cueapi.domain.clock import iso, parse_moment
from cueapi.domain.errors import Invalid, Problem, Refusal
from cueapi.domain.ids import parse_uuid
from cueapi.storage.paging import PAGE_CAP

_DECIMAL = re.compile(r"[0-9]{1,5}(\.[0-9]{1,9})?")
_WHOLE = re.compile(r"[+-]?[0-9]{1,11}")


def text(name: str) -> str | None:
    """A parameter as it stands; None where it is missing or empty."""
    # Asked first: `get` of what is missing raises an error inside, which costs more than all the rest.
    if name not in request.args:
        return None
    value = request.args[name]
    if value and ("\x00" in value or any("\ud800" <= sign <= "\udfff" for sign in value)):
        raise Invalid(Problem(f"query.{name}", "U+0000 and lone surrogates cannot be searched for."))
    return value or None


def number(name: str, default: int, least: int, most: int, *, advice: str = "") -> int:
    """A whole number within its bounds; *advice* says what else can be done."""
    value = text(name)
    if value is None:
        return default
    if not (_WHOLE.fullmatch(value) and least <= int(value) <= most):
        raise Invalid(Problem(f"query.{name}", f"must be a whole number from {least} to {most}{advice}"))
    return int(value)


def seconds(name: str, *, most: int) -> float:
    """A number of seconds, whole or not; 0 where it is missing."""
    value = text(name)
    if value is None:
        return 0.0
    if not (_DECIMAL.fullmatch(value) and float(value) <= most):
        raise Invalid(Problem(f"query.{name}", f"must be a number from 0 to {most}"))
    return float(value)


def limit(default: int) -> int:
    """How many rows a page has."""
    return number("limit", default, 1, 100)


def offset() -> int:
    """How many rows are passed over; far ones are reached by a cursor."""
    return number("offset", 0, 0, PAGE_CAP, advice="; page on with cursor (next_cursor) instead")


def word(name: str, allowed: Iterable[str]) -> str | None:
    """One of the words that the contract knows."""
    value = text(name)
    if value is not None and value not in set(allowed):
        raise Refusal("invalid_filter", f"{name} must be one of {', '.join(sorted(allowed))}; not {value[:64]!r}.")
    return value


def flag(name: str) -> bool | None:
    """true or false."""
    value = word(name, {"true", "false", "1", "0"})
    return None if value is None else value in {"true", "1"}


def when(name: str) -> datetime | None:
    """An ISO 8601 moment; without an offset it is UTC."""
    value = text(name)
    if value is None:
        return None
    try:
        # An offset's + arrives as a space where the client did not escape it.
        return parse_moment(value.replace(" ", "+") if "T" in value else value)
    except ValueError:
        message = "must be an ISO 8601 moment, for example 2026-01-01T00:00:00Z"
        raise Invalid(Problem(f"query.{name}", message)) from None


@frozen
class Cursor:
    """Where a list goes on: behind a row, under the same filters."""

    filters: str

    @classmethod
    def over(cls, **filters: object) -> "Cursor":
        """The cursors of a list with these filters."""
        given = json.dumps({name: str(value) for name, value in sorted(filters.items())})
        return cls(hashlib.sha256(given.encode()).hexdigest()[:16])

    def write(self, created_at: datetime, identity: UUID) -> str:
        """The cursor that goes on behind this row."""
        content = json.dumps([iso(created_at), str(identity), self.filters]).encode()
        return base64.urlsafe_b64encode(content).decode().rstrip("=")

    def read(self) -> tuple[datetime, UUID] | None:
        """Where the request's cursor goes on; refuses a damaged one, and one of other filters."""
        given = text("cursor")
        if given is None:
            return None
        try:
            content = base64.urlsafe_b64decode(given + "=" * (-len(given) % 4))
            created_at, identity, filters = json.loads(content)
            row = (parse_moment(created_at), parse_uuid(identity))
        except (ValueError, TypeError, AttributeError, RecursionError):
            raise Refusal("invalid_filter", "The cursor is damaged; take it from next_cursor as it stands.") from None
        if row[1] is None or filters != self.filters:
            raise Refusal("invalid_filter", "The cursor belongs to a list with other filters.")
        return row[0], row[1]


def confirmed() -> None:
    """Refuses a request without the confirming header."""
    if request.headers.get("X-Confirm-Destructive", "").lower() != "true":
        raise Refusal(
            "confirmation_required", "This cannot be taken back: send the header X-Confirm-Destructive: true."
        )
