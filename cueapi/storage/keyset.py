"""Lists without a total, newest first by id: each page goes on behind the last row of the one before."""

from typing import Generic, LiteralString
from uuid import UUID

from attrs import frozen

from cueapi.storage.database import Executor, R
from cueapi.storage.paging import PLACES, size_for


@frozen
class KeysetPage(Generic[R]):
    """Rows of a page, and whether there are more behind it."""

    rows: list[R]
    more: bool


async def listed(  # noqa: PLR0913 (a statement has as many parts)
    db: Executor,
    *,
    row: type[R],
    columns: LiteralString,
    source: LiteralString,
    where: LiteralString,
    values: list[object],
    key: LiteralString,
    before: UUID | None,
    limit: int,
) -> KeysetPage[R]:
    """One page in the order of *key*, the newest first; *before* is the last one of the page before."""
    arguments = list(values)
    if before is not None:
        where += " and " + key + " < " + PLACES[len(arguments)]
        arguments.append(before)
    statement: LiteralString = (
        "select " + columns + " from " + source + " where " + where + " order by " + key + " desc" + size_for(limit)
    )
    rows = await db.fetch(statement, *arguments, row=row)
    return KeysetPage(rows[:limit], len(rows) > limit)


async def first_of(  # noqa: PLR0913 (a statement has as many parts)
    db: Executor,
    *,
    row: type[R],
    columns: LiteralString,
    source: LiteralString,
    where: LiteralString,
    values: list[object],
    key: LiteralString,
    limit: int,
) -> list[R]:
    """The first *limit* rows in the order of *key*, which are 100 at most: what a batch works on."""
    # How many stands in the text, as in `size_for`; what is read beyond is let go.
    statement: LiteralString = (
        "select " + columns + " from " + source + " where " + where + " order by " + key + " limit 100"
    )
    return (await db.fetch(statement, *values, row=row))[:limit]
