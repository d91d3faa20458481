"""Lists with a total, by offset or behind a cursor: one statement a page."""

from collections.abc import Iterable
from datetime import datetime
from typing import Generic, LiteralString
from uuid import UUID

from attrs import frozen

from cueapi.storage.database import Executor, R

PAGE_CAP = 10_000
"""Totals are exact up to here, and no offset goes beyond."""

PLACES: tuple[LiteralString, ...] = (
    "$1", "$2", "$3", "$4", "$5", "$6", "$7", "$8", "$9", "$10", "$11", "$12", "$13", "$14",
)  # fmt: skip


# How many rows stands in the text: with a parameter there PostgreSQL plans the statement anew each time, which takes
# longer than the page itself. A page has one row more than it shows, and a few sizes do.
SIZES: tuple[tuple[int, LiteralString], ...] = (
    (21, " limit 21"),
    (51, " limit 51"),
    (101, " limit 101"),
)


def conditions(terms: Iterable[tuple[LiteralString, object]]) -> tuple[LiteralString, list[object]]:
    """
    The terms, each with one `?`, joined by `and` with their parameters numbered; and their values.

    A term whose value is None is left out.
    """
    given = [(term, value) for term, value in terms if value is not None]
    places = PLACES[: len(given)]
    text = " and ".join([term.replace("?", place) for (term, _), place in zip(given, places, strict=True)])
    return text, [value for _, value in given]


def size_for(limit: int) -> LiteralString:
    """The `limit` that reads at least one row more than *limit*."""
    return next(text for size, text in SIZES if size > limit)


@frozen
class Page(Generic[R]):
    """
    Rows of a page, whether there are more, and how many there are in all (one beyond the cap: more); None where they
    were not counted.
    """

    rows: list[R]
    more: bool
    total: int | None

    @property
    def capped_total(self) -> int | None:
        """How many there are, exact up to the cap."""
        return None if self.total is None else min(self.total, PAGE_CAP)


async def paged(  # noqa: PLR0913 (a statement has as many parts)
    db: Executor,
    *,
    row: type[R],
    columns: LiteralString,
    source: LiteralString,
    counted: LiteralString | None = "",
    where: LiteralString,
    values: list[object],
    alias: LiteralString,
    before: tuple[datetime, UUID] | None = None,
    limit: int,
    offset: int,
) -> Page[R]:
    """
    One page, newest first, ties by id. At least one row more than *limit* is read to know whether there are more.

    The first of *columns* is the id. The total is that of *counted*, where *source* can be counted at less cost; where
    *counted* is None, nothing is counted.
    """
    places = iter(PLACES[len(values) :])
    at = where
    arguments: list[object] = [*values]
    if before is not None:
        at += " and (" + alias + ".created_at, " + alias + ".id) < (" + next(places) + ", " + next(places) + ")"
        arguments += before
    ordered: LiteralString = " order by " + alias + ".created_at desc, " + alias + ".id desc"
    taken = size_for(limit)
    if offset:
        taken += " offset " + next(places)
        arguments.append(offset)
    page: LiteralString = "select " + columns + " from " + source + " where " + at + ordered + taken
    total: LiteralString = "select null::bigint as total"
    if counted is not None:
        total = (
            "select count(*) as total from (select 1 from " + (counted or source) + " where " + where
            + " limit 10001) counted"
        )  # fmt: skip
    statement: LiteralString = (
        "with page as (" + page + "), total as (" + total + ") "
        "select total.total, page.* from total left join page on true order by page.created_at desc, page.id desc"
    )
    rows = await db.fetch(statement, *arguments, row=row)
    # The total stands first, then the id, which is null where the page is empty.
    found = [one for one in rows if one[1] is not None]
    return Page(found[:limit], len(found) > limit, rows[0][0])
