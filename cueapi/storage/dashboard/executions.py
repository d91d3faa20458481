"""The list of executions: by which filters, newest first, and whether there are more."""

from datetime import datetime
from typing import LiteralString
from uuid import UUID

from attrs import frozen

from cueapi.storage.dashboard.lines import JOINED, LINE, LineColumns
from cueapi.storage.database import Executor, Row
from cueapi.storage.paging import PLACES, conditions

ROWS = 50
"""How many a page has."""


class ListedExecution(LineColumns, Row):
    """A line of the list."""


LIST: LiteralString = "select " + LINE + " from executions e " + JOINED

_WITHIN: LiteralString = " order by e.created_at desc, e.id desc limit 51"


@frozen
class ExecutionFilter:
    """Which executions of a user; None leaves a condition out."""

    user: int
    status: str | None = None
    outcome_state: str | None = None
    cue_id: str | None = None
    group: str | None = None
    since: datetime | None = None
    until: datetime | None = None
    before: tuple[datetime, UUID] | None = None


@frozen
class ExecutionPage:
    """The lines of a page, and whether there are more."""

    lines: list[ListedExecution]
    has_more: bool


async def page(db: Executor, wanted: ExecutionFilter) -> ExecutionPage:
    """One page of executions, newest first, ties by id."""
    where, values = conditions(
        [
            ("e.user_id = ?", wanted.user),
            ("e.status = ?", wanted.status),
            ("e.outcome_state = ?", wanted.outcome_state),
            ("e.cue_id = ?", wanted.cue_id),
            ("c.group_name = ?", wanted.group),
            ("e.created_at >= ?", wanted.since),
            ("e.created_at <= ?", wanted.until),
        ]
    )
    if wanted.before is not None:
        first, second = PLACES[len(values) : len(values) + 2]
        where += " and (e.created_at, e.id) < (" + first + ", " + second + ")"
        values += wanted.before
    lines = await db.fetch(LIST + " where " + where + _WITHIN, *values, row=ListedExecution)
    return ExecutionPage(lines[:ROWS], len(lines) > ROWS)


class CueName(Row):
    """The name of a cue."""

    name: str


NAME = "select name from cues where id = $1 and user_id = $2 and deleted_at is null"


async def cue_name(db: Executor, *, cue_id: str, user: int) -> str | None:
    """How the cue of a filter is called; None where it is not this user's."""
    row = await db.fetch_one(NAME, cue_id, user, row=CueName)
    return None if row is None else row.name
