"""Cues as operations take them: how many match, the next of them behind a cursor, and what is done to them."""

import json
from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import LiteralString

from attrs import frozen

from cueapi.domain.audit import Act
from cueapi.domain.zone import reading_at
from cueapi.storage.cues import CueFilter
from cueapi.storage.database import Executor, Row, fetch_value
from cueapi.storage.keyset import first_of
from cueapi.storage.paging import PLACES, conditions


class CueFacts(Row):
    """A cue as an operation finds it; *has_fired*: the time of a one-time cue has its execution."""

    id: str
    status: str
    cron: str | None
    timezone: str
    schedule_at: datetime | None
    has_fired: bool
    revision: int
    created_at: datetime


COLUMNS: LiteralString = (
    "c.id, c.status, c.cron, c.timezone, c.schedule_at, c.revision, c.created_at,"
    " c.schedule_at is not null and exists (select from executions e where e.cue_id = c.id"
    " and e.triggered_by = 'scheduled' and e.scheduled_for = c.schedule_at) as has_fired"
)


def _where(wanted: CueFilter) -> tuple[LiteralString, list[object]]:
    where, values = conditions(
        [
            ("c.user_id = ?", wanted.user),
            ("c.status = ?", wanted.status),
            ("c.name = ?", wanted.name),
            ("c.group_name = ?", wanted.group),
        ]
    )
    return where + " and c.deleted_at is null", values


async def count(db: Executor, wanted: CueFilter) -> int:
    """How many cues match; one beyond the cap: more."""
    where, values = _where(wanted)
    statement: LiteralString = "select count(*) from (select from cues c where " + where + " limit 100001) m"
    return await fetch_value(db, statement, *values, kind=int) or 0


async def batch(
    db: Executor, wanted: CueFilter, *, as_of: datetime, behind: tuple[datetime, str] | None, limit: int
) -> list[CueFacts]:
    """The next cues that were there at *as_of*, the oldest first."""
    where, values = _where(wanted)
    where += " and c.created_at <= " + PLACES[len(values)]
    values.append(as_of)
    if behind is not None:
        first, second = PLACES[len(values) : len(values) + 2]
        where += " and (c.created_at, c.id) > (" + first + ", " + second + ")"
        values += behind
    return await first_of(
        db, row=CueFacts, columns=COLUMNS, source="cues c", where=where, values=values, key="c.created_at, c.id",
        limit=limit,
    )  # fmt: skip


CUES_OF_IDS: LiteralString = (
    "select " + COLUMNS + " from cues c where c.id = any ($2::text[]) and c.user_id = $1 and c.deleted_at is null"
)


async def of_ids(db: Executor, *, user: int, ids: Sequence[str]) -> dict[str, CueFacts]:
    """Cues of *user* by their ids; those that are none of theirs are left out."""
    return {row.id: row for row in await db.fetch(CUES_OF_IDS, user, list(ids), row=CueFacts)}


class NamedCue(Row):
    """A cue as a dry run shows it."""

    id: str
    name: str
    created_at: datetime


SOME_CUES = """
select id, name, created_at from cues where id = any ($2::text[]) and user_id = $1 and deleted_at is null order by name
"""


async def some(db: Executor, *, user: int, ids: Sequence[str]) -> list[NamedCue]:
    """Those of *ids* that are cues of *user*."""
    return await db.fetch(SOME_CUES, user, list(ids), row=NamedCue)


LOCK_CUES = "select id from cues where id = any ($1::text[]) order by id for no key update"


async def lock(db: Executor, ids: Iterable[str]) -> None:
    """Lock these cues, in one order, before the budgets that their executions count in: as every writer does."""
    await db.execute(LOCK_CUES, sorted(ids))


class ChangedCue(Row):
    """A cue that was changed."""

    id: str


# $1 ids, $2 the user, $3 the act. Locked in one order, as by every writer.
PAUSE_CUES = """
with locked as (
    select id from cues where id = any ($1::text[]) and user_id = $2 and deleted_at is null order by id
       for no key update
), moved as (
    update cues
       set status = 'paused', pause_reason = null, next_run = null, next_local = null, planned_at = now(),
           status_changed_at = clock_timestamp(), status_changed_by = $3::json -> 'actor',
           status_change_reason = $3::json ->> 'reason', parked_run = null,
           revision = revision + 1, updated_at = clock_timestamp()
     where id = any (array(select id from locked))
       and status = 'active'
 returning id, name
)
select id, write_audit($2, $3::json, 'cue.paused', 'cue', id, name,
                       '[{"path": "status", "from": "active", "to": "paused"}]') as entry
  from moved
"""


async def pause(db: Executor, ids: Iterable[str], *, user: int, act: Act) -> int:
    """Pause these cues; how many of them were active."""
    return len(await db.fetch(PAUSE_CUES, sorted(ids), user, act.text(), row=ChangedCue))


@frozen
class Resumption:
    """A paused cue as it was read, and when it fires next."""

    cue: CueFacts
    next_run: datetime


# $1 as JSON records. A cue that has changed since it was read stays as it is.
RESUME_CUES = """
with next as (
    select * from json_to_recordset($1::json) as n(id text, revision bigint, next timestamptz, local timestamp)
), locked as (
    select id from cues where id = any (array(select id from next)) and user_id = $2 and deleted_at is null order by id
       for no key update
), moved as (
    update cues c
       set status = 'active', pause_reason = null, next_run = n.next, next_local = n.local, planned_at = now(),
           status_changed_at = clock_timestamp(), status_changed_by = $3::json -> 'actor',
           status_change_reason = $3::json ->> 'reason', parked_run = null,
           revision = c.revision + 1, updated_at = clock_timestamp()
      from next n
     where c.id = n.id
       and c.id = any (array(select id from locked))
       and c.revision = n.revision
       and c.status = 'paused'
 returning c.id, c.name
)
select id, write_audit($2, $3::json, 'cue.resumed', 'cue', id, name,
                       '[{"path": "status", "from": "paused", "to": "active"}]') as entry
  from moved
"""


async def resume(db: Executor, resumptions: Iterable[Resumption], *, user: int, act: Act) -> int:
    """Resume these cues; how many of them were as they had been read."""
    given = [
        {
            "id": one.cue.id,
            "revision": one.cue.revision,
            "next": one.next_run.isoformat(),
            "local": one.cue.cron and reading_at(one.next_run, one.cue.timezone).isoformat(),
        }
        for one in resumptions
    ]
    return len(await db.fetch(RESUME_CUES, json.dumps(given), user, act.text(), row=ChangedCue))
