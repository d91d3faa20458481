"""Paths of pages with their queries, and the cursors in them."""

import re
from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import urlencode
from uuid import UUID

from quart import request

from cueapi.domain.clock import parse_moment
from cueapi.domain.errors import Refusal

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_CURSOR = re.compile(r"(?:([01])-)?([0-9]{1,18})-([0-9a-f]{32})")


def with_query(path: str, **values: str | None) -> str:
    """*path* with those values that are given."""
    query = urlencode({name: value for name, value in values.items() if value})
    return f"{path}?{query}" if query else path


def write_cursor(created_at: datetime, identity: UUID, flag: bool | None = None) -> str:
    """Where a list goes on: behind this row."""
    mark = "" if flag is None else f"{int(flag)}-"
    return f"{mark}{(created_at - _EPOCH) // timedelta(microseconds=1)}-{UUID(str(identity)).hex}"


def read_cursor(text: str | None) -> tuple[datetime, UUID, bool] | None:
    """Where a list goes on; None at its begin. Refuses a damaged one."""
    if not text:
        return None
    found = _CURSOR.fullmatch(text)
    try:
        if found is not None:
            at = _EPOCH + timedelta(microseconds=int(found[2]))
            return at, UUID(found[3]), found[1] == "1"
    except OverflowError:
        pass
    raise Refusal("invalid_filter", "The link to this part of the list is damaged; begin at its first page.")


def asked_for(names: Iterable[str]) -> dict[str, str]:
    """What the query of the page says of each, without U+0000, which PostgreSQL cannot hold; empty where nothing."""
    return {name: request.args.get(name, "").replace("\0", "").strip() for name in names}


def read_filters(
    given: Mapping[str, str], readers: Mapping[str, Callable[[str], object]]
) -> tuple[dict[str, Any], dict[str, str]]:
    """The filters that are given, each by its reader; and what is wrong with those whose reader raises ValueError."""
    read: dict[str, Any] = {}
    problems: dict[str, str] = {}
    for name, reader in readers.items():
        try:
            read[name] = reader(given[name])
        except ValueError as error:
            problems[name] = str(error)
    return read, problems


def a_text(longest: int) -> Callable[[str], str | None]:
    """Reads a text of at most so many characters; None where it is empty."""
    return lambda text: text[:longest] or None


def read_moment(text: str | None) -> datetime | None:
    """A moment as a field of a form gives it, in UTC; None where it is empty. Raises ValueError for anything else."""
    try:
        return parse_moment(text) if text else None
    except ValueError:
        raise ValueError("is not a moment such as 2026-01-31T09:00") from None


def chosen(given: str | None, known: Mapping[str, str]) -> str | None:
    """The value of a filter that is one of those *known*; None where nothing was chosen. Raises ValueError."""
    if not given:
        return None
    if given not in known:
        raise ValueError(f"is none of {', '.join(known)}")
    return given
