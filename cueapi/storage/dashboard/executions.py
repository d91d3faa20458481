"""The list of executions: by which filters, newest first, and whether there are more."""

from datetime import datetime
from typing import LiteralString
from uuid import UUID

from attrs import evolve, frozen

from cueapi.storage.dashboard.lines import JOINED, LINE, LineColumns
from cueapi.storage.database import Executor, Row
from cueapi.storage.paging import PLACES, conditions

ROWS = 50
"""How many a page has."""


class ListedExecution(LineColumns, Row):
    """A line of the list."""


LIST: LiteralString = "select " + LINE + " from executions e " + JOINED

_WITHIN: LiteralString = " order by e.created_at desc, e.id desc limit 51"


# The rows of a group lie close together among the newest, where it has many cues; where it has few, they are looked
# for cue by cue: else all of a long history might be read for a page. $1 the cues.
def _of_few(where: LiteralString) -> LiteralString:
    newest: LiteralString = "(select e.* from executions e where e.cue_id = g.id and " + where + _WITHIN + ") e"
    some: LiteralString = "(select e.* from unnest($1::text[]) g (id) cross join lateral " + newest + _WITHIN + ") e "
    return "select " + LINE + " from " + some + JOINED + _WITHIN


OF_FEW: LiteralString = _of_few("e.user_id = $2")

FEW = 100
"""Cues of a group that are looked at one by one."""


class GroupedCue(Row):
    """A cue of a group."""

    id: str


GROUP = "select id from cues where user_id = $1 and group_name = $2 and deleted_at is null limit 101"


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
    """One page of executions, newest first, ties by id. Of a group it is two statements."""
    cues = None if wanted.group is None or wanted.cue_id is not None else await _cues_of(db, wanted)
    if cues is not None and len(cues) <= FEW:
        lines = await _page_of_few(db, evolve(wanted, group=None), cues) if cues else []
    else:
        where, values = _conditions(wanted)
        lines = await db.fetch(LIST + " where " + where + _WITHIN, *values, row=ListedExecution)
    return ExecutionPage(lines[:ROWS], len(lines) > ROWS)


async def _page_of_few(db: Executor, wanted: ExecutionFilter, cues: list[str]) -> list[ListedExecution]:
    where, values = _conditions(wanted, cues)
    return await db.fetch(OF_FEW if len(values) == 2 else _of_few(where), *values, row=ListedExecution)


def _conditions(wanted: ExecutionFilter, cues: list[str] | None = None) -> tuple[LiteralString, list[object]]:
    """The conditions with their values; *cues* is the first parameter, where they are given."""
    where, values = conditions(
        [
            ("?::text[] is not null", cues),
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
    return where, values


async def _cues_of(db: Executor, wanted: ExecutionFilter) -> list[str]:
    """The cues of a group; one more than few stands for many."""
    return [row.id for row in await db.fetch(GROUP, wanted.user, wanted.group, row=GroupedCue)]


class CueName(Row):
    """The name of a cue."""

    name: str


NAME = "select name from cues where id = $1 and user_id = $2 and deleted_at is null"


async def cue_name(db: Executor, *, cue_id: str, user: int) -> str | None:
    """How the cue of a filter is called; None where it is not this user's."""
    row = await db.fetch_one(NAME, cue_id, user, row=CueName)
    return None if row is None else row.name
