"""Cursors: where a list goes on, for lists that are longer than an offset may reach."""

import base64
import hashlib
import json
from collections.abc import Callable
from datetime import datetime
from typing import TypeVar
from uuid import UUID

from attrs import frozen

from cueapi.api.http.parameters import Text
from cueapi.domain.clock import iso, parse_moment
from cueapi.domain.errors import Refusal
from cueapi.domain.ids import parse_uuid

T = TypeVar("T")

CURSOR = Text("cursor", "`next_cursor` of the page before, under the same filters; `offset` is then ignored.")


DAMAGED = "The cursor is damaged; send next_cursor unchanged."


@frozen
class Cursor:
    """Where a list goes on: behind a row, under the same filters."""

    filters: str

    @classmethod
    def over(cls, **filters: object) -> "Cursor":
        """The cursors of a list with these filters."""
        return cls(_digest({name: str(value) for name, value in sorted(filters.items())}))

    def write(self, created_at: datetime, identity: UUID | int | str) -> str:
        """The cursor that goes on behind this row."""
        row = [iso(created_at), str(identity), self.filters]
        return _encoded([*row, _digest(row)])

    def read(self) -> tuple[datetime, UUID] | None:
        """Where the request's cursor goes on; refuses a damaged one, and one of other filters."""
        return self._read(parse_uuid)

    def read_numbered(self) -> tuple[datetime, int] | None:
        """As `read`, of a list whose rows have numbers."""
        return self._read(_number)

    def read_named(self) -> tuple[datetime, str] | None:
        """As `read`, of a list whose rows have names."""
        return self._read(_name)

    def _read(self, parse: Callable[[str], T | None]) -> tuple[datetime, T] | None:
        given = CURSOR.read()
        if given is None:
            return None
        try:
            content = base64.urlsafe_b64decode(given + "=" * (-len(given) % 4))
            *given_row, check = json.loads(content)
            created_at, identity, filters = given_row
            row = (parse_moment(created_at), parse(identity))
            if check != _digest(given_row) or given != _encoded([*given_row, check]):
                raise ValueError("not as it was written")
        except (ValueError, TypeError, AttributeError, RecursionError):
            raise Refusal("invalid_filter", DAMAGED) from None
        if row[1] is None or filters != self.filters:
            raise Refusal("invalid_filter", "The cursor belongs to a list with other filters.")
        return row[0], row[1]


def _encoded(content: list[str]) -> str:
    return base64.urlsafe_b64encode(json.dumps(content).encode()).decode().rstrip("=")


def _digest(content: object) -> str:
    return hashlib.sha256(json.dumps(content).encode()).hexdigest()[:16]


def _number(text: str) -> int | None:
    """A row's number; None where it is none that a row can have."""
    return int(text) if text.isascii() and text.isdigit() and len(text) < 19 else None


def _name(text: str) -> str | None:
    """A row's name; None where it is none that PostgreSQL can hold, or raises ValueError."""
    text.encode()
    return None if "\x00" in text else text
