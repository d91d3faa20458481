"""
Parameters of queries and headers. Each is declared once: it describes itself in `/openapi.json` (*schema*), and it
reads and checks itself in the request that is being answered (*read*).
"""

import re
from collections import Counter
from collections.abc import Iterable
from datetime import datetime
from typing import Any, ClassVar, TypeAlias

from attrs import field, frozen
from quart import request

from cueapi.domain.clock import parse_moment
from cueapi.domain.errors import Invalid, Problem, Refusal
from cueapi.storage.paging import PAGE_CAP

Schema: TypeAlias = dict[str, Any]

_DECIMAL = re.compile(r"[0-9]{1,5}(\.[0-9]{1,9})?")
_WHOLE = re.compile(r"[+-]?[0-9]{1,11}")
KEY = re.compile(r"[\x20-\x7e]{1,255}")
"""An idempotency key."""


@frozen
class Parameter:
    """What every parameter has."""

    where: ClassVar[str] = "query"
    required: ClassVar[bool] = False

    name: str
    description: str
    names_one: bool = field(default=False, kw_only=True)
    """Whether it names what is asked for: an empty one, as of a shell's variable that is not set, is refused then."""

    @property
    def schema(self) -> Schema:
        """Its JSON schema."""
        return {"type": "string"} | ({"minLength": 1} if self.names_one else {})

    def _given(self) -> str | None:
        """The value as it was sent; None where it is missing, or empty and may be so."""
        # Asked first: `get` of what is missing raises an error inside, which costs more than all the rest.
        if self.name not in request.args:
            return None
        value = request.args[self.name]
        if not value and self.names_one:
            raise self._wrong("is empty: it would ask for all; leave it out, or say which is meant")
        if value and ("\x00" in value or any("\ud800" <= sign <= "\udfff" for sign in value)):
            raise self._wrong("U+0000 and lone surrogates cannot be searched for.")
        return value or None

    def _word(self, value: str, allowed: tuple[str, ...]) -> str:
        """*value*, which must be one of *allowed*."""
        if value not in allowed:
            raise Refusal("invalid_filter", f"{self.name} must be one of {', '.join(allowed)}; not {value[:64]!r}.")
        return value

    def _wrong(self, message: str) -> Invalid:
        return Invalid(Problem(f"{self.where}.{self.name}", message))


@frozen
class Text(Parameter):
    """Any text."""

    def read(self) -> str | None:
        """The text; None where it is missing or empty."""
        return self._given()

    def read_any(self) -> str:
        """The text whatever it holds, "" where it is missing: for pages, which refuse by a page."""
        return request.args.get(self.name, "")


@frozen
class Pattern(Text):
    """A text of a form."""

    pattern: str

    @property
    def schema(self) -> Schema:
        """Its JSON schema."""
        return {"type": "string", "pattern": self.pattern}

    def read(self) -> str | None:
        """The text; None where it is missing or empty."""
        value = self._given()
        if value is not None and not re.fullmatch(self.pattern, value):
            raise self._wrong(f"must match {self.pattern}")
        return value


def _in_order(words: Iterable[str]) -> tuple[str, ...]:
    return tuple(sorted(str(word) for word in words))


@frozen
class Choice(Parameter):
    """One of some words."""

    allowed: tuple[str, ...] = field(converter=_in_order)

    @property
    def schema(self) -> Schema:
        """Its JSON schema."""
        return {"type": "string", "enum": list(self.allowed)}

    def read(self) -> str | None:
        """The word; None where it is missing or empty."""
        value = self._given()
        return None if value is None else self._word(value, self.allowed)


@frozen
class Choices(Parameter):
    """Some of some words, separated by commas."""

    allowed: tuple[str, ...] = field(converter=_in_order)

    @property
    def schema(self) -> Schema:
        """Its JSON schema."""
        word = "|".join(self.allowed)
        return {"type": "string", "pattern": f"^({word})(,({word}))*$"}

    def read(self) -> tuple[str, ...] | None:
        """The words, each once and in order; None where it is missing or empty."""
        value = self._given()
        return None if value is None else _in_order({self._word(one, self.allowed) for one in value.split(",")})


@frozen
class Flag(Parameter):
    """true or false; 1 and 0 are taken, too."""

    @property
    def schema(self) -> Schema:
        """Its JSON schema."""
        return {"type": "string", "enum": ["false", "true"]}

    def read(self) -> bool | None:
        """What it says; None where it is missing or empty."""
        value = self._given()
        return None if value is None else self._word(value, ("0", "1", "false", "true")) in {"true", "1"}


@frozen
class Whole(Parameter):
    """A whole number within its bounds; *advice* says what else can be done."""

    least: int
    most: int
    default: int
    advice: str = ""

    @property
    def schema(self) -> Schema:
        """Its JSON schema."""
        return {"type": "integer", "minimum": self.least, "maximum": self.most, "default": self.default}

    def read(self) -> int:
        """The number; the default where it is missing or empty."""
        value = self._given() or str(self.default)
        if not (_WHOLE.fullmatch(value) and self.least <= int(value) <= self.most):
            raise self._wrong(f"must be a whole number from {self.least} to {self.most}{self.advice}")
        return int(value)


@frozen
class Seconds(Parameter):
    """A number of seconds, whole or not."""

    most: int

    @property
    def schema(self) -> Schema:
        """Its JSON schema."""
        return {"type": "number", "minimum": 0, "maximum": self.most, "default": 0}

    def read(self) -> float:
        """The seconds; 0 where it is missing or empty."""
        value = self._given() or "0"
        if not (_DECIMAL.fullmatch(value) and float(value) <= self.most):
            raise self._wrong(f"must be a number from 0 to {self.most}")
        return float(value)


@frozen
class Moment(Parameter):
    """An ISO 8601 moment; without an offset it is UTC."""

    @property
    def schema(self) -> Schema:
        """Its JSON schema."""
        return {"type": "string", "format": "date-time"}

    def read(self) -> datetime | None:
        """The moment; None where it is missing or empty."""
        value = self._given()
        if value is None:
            return None
        try:
            # An offset's + arrives as a space where the client did not escape it.
            return parse_moment(value.replace(" ", "+") if "T" in value else value)
        except ValueError:
            raise self._wrong("must be an ISO 8601 moment, for example 2026-01-01T00:00:00Z") from None


def query_names() -> Counter[str]:
    """The names in the query of the request, each with how often it stands there."""
    return Counter(name for name, _ in request.args.items(multi=True))


def page_limit(default: int) -> Whole:
    """The `limit` of a list."""
    return Whole("limit", "Rows of a page, at most.", 1, 100, default)


OFFSET = Whole(
    "offset", "Rows to skip, at most 10,000; beyond them page on with a cursor where the list has one.",
    0, PAGE_CAP, 0, advice="; page on with cursor (next_cursor) instead",
)  # fmt: skip


COUNTED = Flag("count", "`false` spares the count of all rows: `total` is null then.")


@frozen
class HeaderText(Parameter):
    """A header that holds any text."""

    where: ClassVar[str] = "header"

    def read(self) -> str | None:
        """The text. The server reads headers as Latin-1, and clients write them as UTF-8, as they do a body."""
        text = request.headers.get(self.name)
        try:
            return text and text.encode("latin-1").decode()
        except UnicodeError:
            return text


WORKER_ID = HeaderText("X-Worker-Id", "The worker that reports: it must hold the claim. Left out, any caller may.")


@frozen
class Confirmation(Parameter):
    """The header without which nothing is destroyed."""

    where: ClassVar[str] = "header"
    required: ClassVar[bool] = True

    @property
    def schema(self) -> Schema:
        """Its JSON schema."""
        return {"type": "string", "enum": ["true"]}

    def require(self) -> None:
        """Refuse a request without it."""
        if request.headers.get(self.name, "").lower() != "true":
            raise Refusal("confirmation_required", f"This cannot be taken back: send the header {self.name}: true.")


CONFIRMED = Confirmation("X-Confirm-Destructive", "Must be `true`: the call cannot be undone.")


@frozen
class IdempotencyKey(Parameter):
    """The header that makes a repeat harmless."""

    where: ClassVar[str] = "header"

    @property
    def schema(self) -> Schema:
        """Its JSON schema."""
        return {"type": "string", "minLength": 1, "maxLength": 255, "pattern": "^[\\x20-\\x7e]+$"}

    def read(self) -> str | None:
        """The key; None where there is none."""
        given = request.headers.getlist(self.name)
        if not given:
            return None
        if len(given) > 1 or not KEY.fullmatch(given[0]):
            raise self._wrong("must be 1 to 255 printable ASCII characters, once")
        return given[0]


IDEMPOTENCY_KEY = IdempotencyKey(
    "Idempotency-Key", "1 to 255 printable ASCII characters. A repeat under the same key within 24 hours is answered "
    "with the first answer, and has no further effect.",
)  # fmt: skip

IDEMPOTENT = ("idempotency_key_in_use", "idempotency_key_reused")
"""How a request under an Idempotency-Key may be refused."""
