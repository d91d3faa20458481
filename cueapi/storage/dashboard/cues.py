"""Cues as their pages show them: the list with what became of the last executions, and one cue."""

from collections import defaultdict
from datetime import datetime
from typing import LiteralString
from uuid import UUID

from attrs import frozen

from cueapi.storage.cue_warnings import WARNING
from cueapi.storage.cues import COLUMNS, CueColumns
from cueapi.storage.dashboard.lines import JOINED, LINE, LineColumns
from cueapi.storage.database import Executor, Row, fetch_value
from cueapi.storage.paging import PLACES, conditions

ROWS = 25
"""How many cues a page has."""

HISTORY = 200
"""The executions of a cue that its figures are made of."""


class ListedCue(Row):
    """A cue as a line of the list."""

    id: str
    name: str
    group_name: str | None
    status: str
    transport: str
    cron: str | None
    schedule_at: datetime | None
    timezone: str
    callback_host: str | None
    next_run: datetime | None
    last_run: datetime | None
    consecutive_failures: int
    fired_count: int
    created_at: datetime
    status_changed_by: str | None
    status_change_reason: str | None
    warning: str | None
    now: datetime


LIST: LiteralString = (
    """
select c.id, c.name, c.group_name, c.status, c.transport, c.cron, c.schedule_at, c.timezone, c.callback_host,
       c.next_run, c.last_run, c.consecutive_failures, c.fired_count, c.created_at, now() as now,
       c.status_changed_by, c.status_change_reason,
       """
    + WARNING
    + """
  from cues c
"""
)

# Words in the text and no parameters: the planner knows how many cues each status has.
_STATUS: dict[str, LiteralString] = {
    "active": " and c.status = 'active'",
    "paused": " and c.status = 'paused'",
    "completed": " and c.status = 'completed'",
    "failed": " and c.status = 'failed'",
}

_WITHIN: LiteralString = " and c.deleted_at is null order by c.created_at desc, c.id desc limit 26"


class MarkedExecution(Row):
    """An execution as a bar of its cue's history."""

    id: UUID
    cue_id: str
    status: str
    outcome_state: str | None
    is_reported: bool
    is_awaited: bool
    duration_ms: int | None
    created_at: datetime
    finished_at: datetime | None


# $1 cues. Of each the newest thirty, by its index.
MARKS = """
select e.id, e.cue_id, e.status, e.outcome_state, e.is_reported, e.is_awaited, a.duration_ms, e.created_at,
       e.finished_at
  from unnest($1::text[]) wanted (cue_id)
 cross join lateral (
       select x.id, x.cue_id, x.attempts, x.outcome_state, x.created_at, x.finished_at,
              case when x.status = 'retrying' and x.ready_at <= now() then 'retry_ready' else x.status end as status,
              coalesce(x.outcome_attempt = x.attempts, false) as is_reported,
              coalesce(x.outcome_deadline_at > now()
                       and (x.outcome_attempt is null or x.outcome_attempt < x.attempts), false) as is_awaited
         from executions x
        where x.cue_id = wanted.cue_id
        order by x.created_at desc, x.id desc
        limit 30) e
  left join attempts a on a.execution_id = e.id and a.attempt = e.attempts
"""


@frozen
class CueSearch:
    """Which cues of a user; None leaves a condition out. *text* is a part of the name, in any case."""

    user: int
    text: str | None = None
    status: str | None = None
    before: tuple[datetime, str] | None = None
    group: str | None = None


@frozen
class CuePage:
    """The cues of a page, the newest executions of each (newest first), and whether there are more."""

    cues: list[ListedCue]
    marks: dict[str, list[MarkedExecution]]
    has_more: bool


def _where(wanted: CueSearch) -> tuple[LiteralString, list[object]]:
    where, values = conditions(
        [
            ("c.user_id = ?", wanted.user),
            ("c.group_name = ?", wanted.group),
            ("c.name ilike ?", wanted.text and f"%{_escaped(wanted.text)}%"),
        ]
    )
    return where + ("" if wanted.status is None else _STATUS[wanted.status]), values


async def page(db: Executor, wanted: CueSearch) -> CuePage:
    """One page of cues, newest first, ties by id."""
    where, values = _where(wanted)
    if wanted.before is not None:
        first, second = PLACES[len(values) : len(values) + 2]
        where += " and (c.created_at, c.id) < (" + first + ", " + second + ")"
        values += wanted.before
    rows = await db.fetch(LIST + " where " + where + _WITHIN, *values, row=ListedCue)
    return CuePage(rows[:ROWS], await marks(db, [row.id for row in rows[:ROWS]]), len(rows) > ROWS)


class KnownCue(Row):
    """The id of a cue."""

    id: str


IDS: LiteralString = "select c.id from cues c"


async def ids_of(db: Executor, wanted: CueSearch, most: int) -> list[str]:
    """The ids of all cues that match, so many at most, newest first; not of those behind a place."""
    where, values = _where(wanted)
    where += " and c.deleted_at is null order by c.created_at desc, c.id desc limit " + PLACES[len(values)]
    return [row.id for row in await db.fetch(IDS + " where " + where, *values, most, row=KnownCue)]


async def executions_of(db: Executor, wanted: CueSearch) -> int:
    """How many executions all cues that match have made."""
    where, values = _where(wanted)
    made: LiteralString = "select coalesce(sum(c.fired_count), 0)::bigint from cues c where "
    return await fetch_value(db, made + where + " and c.deleted_at is null", *values, kind=int) or 0


async def marks(db: Executor, cues: list[str]) -> dict[str, list[MarkedExecution]]:
    """The newest thirty executions of each of *cues*, the newest first."""
    found: dict[str, list[MarkedExecution]] = defaultdict(list)
    for row in await db.fetch(MARKS, cues, row=MarkedExecution) if cues else []:
        found[row.cue_id].append(row)
    return found


def _escaped(text: str) -> str:
    """*text* for LIKE, in which three signs mean more than themselves."""
    return text.replace("\\", r"\\").replace("%", r"\%").replace("_", r"\_")


class ShownCueRow(CueColumns, Row):
    """A cue as its page shows it."""

    revision: int
    schedule_local: datetime | None
    url_warning: str | None
    consecutive_failures: int
    callback_host: str | None
    now: datetime


SHOW: LiteralString = (
    "select "
    + COLUMNS
    + ", c.consecutive_failures, c.callback_host, now() as now"
    + " from cues c where c.id = $1 and c.user_id = $2 and c.deleted_at is null"
)


class HistoryLine(LineColumns, Row):
    """An execution in the history of its cue."""


NEWEST: LiteralString = (
    "select " + LINE + " from executions e " + JOINED + " where e.cue_id = $1 order by e.created_at desc, e.id desc"
    " limit 200"
)


async def show(db: Executor, *, cue_id: str, user: int) -> tuple[ShownCueRow, list[HistoryLine]] | None:
    """A cue with its newest executions, as many as its figures are made of; None where it is not this user's."""
    cue = await db.fetch_one(SHOW, cue_id, user, row=ShownCueRow)
    return None if cue is None else (cue, await db.fetch(NEWEST, cue_id, row=HistoryLine))


class CueCount(Row):
    """A cue that is to be acted on: its name, and how many executions it has made."""

    id: str
    name: str
    status: str
    fired_count: int


NAMED = """
select id, name, status, fired_count
  from cues
 where id = any ($1::text[])
   and user_id = $2
   and deleted_at is null
 order by name
"""


async def named(db: Executor, *, cue_ids: list[str], user: int) -> list[CueCount]:
    """Those of *cue_ids* that are cues of *user*, by name."""
    return await db.fetch(NAMED, cue_ids, user, row=CueCount)
