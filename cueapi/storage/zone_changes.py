"""Which versions of tzdata the planned times of this database follow from, and the cues that another one moves."""

import json
from collections.abc import Iterable
from datetime import datetime

from attrs import frozen

from cueapi.storage.database import Executor, Row, Transaction, fetch_value

# Held until the transaction ends: of many daemons that start at once, one does the work. 0 is the lock of migrations,
# and numbers from 1 on are daemons.
LOCK = "select pg_advisory_xact_lock(1129661761, -1)"


async def lock(tx: Transaction) -> None:
    """Wait until no other daemon replans cues."""
    await tx.execute(LOCK)


PLANNED_WITH = "select value from meta where key = 'tzdata'"


async def planned_with(db: Executor) -> set[str]:
    """The versions that times may have been planned with since all were planned with one."""
    return set((await fetch_value(db, PLANNED_WITH, kind=str) or "").split())


ACCEPT = """
insert into meta (key, value) values ('tzdata', $1)
    on conflict (key) do update set value = excluded.value
"""


async def accept(db: Executor, version: str) -> None:
    """Every time is planned with *version* now."""
    await db.execute(ACCEPT, version)


class PlannedCueRow(Row):
    """A cue whose time follows from its zone: of a recurring one the next run, of another the reading it is set for."""

    id: str
    next_run: datetime | None
    next_local: datetime | None
    revision: int
    cron: str | None
    schedule_at: datetime | None
    schedule_local: datetime | None
    timezone: str
    now: datetime


# $1 the last id of the batch before. A one-time cue that has fired keeps its time: its execution is found by it.
PLANNED = """
select c.id, c.next_run, c.next_local, c.revision, c.cron, c.schedule_at, c.schedule_local, c.timezone,
       clock_timestamp() as now
  from cues c
 where c.id > $1
   and c.deleted_at is null
   and c.status in ('active', 'paused')
   and (c.cron is not null and c.next_run is not null
        or c.schedule_local is not null
           and (c.next_run is not null
                or c.status = 'paused'
                   and not exists (select from executions e
                                    where e.cue_id = c.id and e.triggered_by = 'scheduled'
                                      and e.scheduled_for = c.schedule_at)))
 order by c.id
 limit 1000
"""


async def planned(db: Executor, after: str) -> list[PlannedCueRow]:
    """A batch of cues, in the order of their ids."""
    return await db.fetch(PLANNED, after, row=PlannedCueRow)


@frozen
class MovedCue:
    """A cue as it was found, its new times, and what the clock of its zone shows at the next one."""

    cue: PlannedCueRow
    next_run: datetime | None
    schedule_at: datetime | None
    next_local: datetime | None


# Fenced as a poll is.
MOVE = """
update cues c
   set next_run = t.next, schedule_at = t.at, next_local = t.local, planned_at = now()
  from json_to_recordset($1::json) as t(cue text, seen timestamptz, revision bigint, next timestamptz, at timestamptz,
                                        local timestamp)
 where c.id = t.cue
   and c.next_run is not distinct from t.seen
   and c.revision = t.revision
"""


async def move(db: Executor, cues: Iterable[MovedCue]) -> int:
    """Store the new times; how many cues still stood as they were found."""
    moves = [
        {
            "cue": one.cue.id,
            "seen": _text(one.cue.next_run),
            "revision": one.cue.revision,
            "next": _text(one.next_run),
            "at": _text(one.schedule_at),
            "local": _text(one.next_local),
        }
        for one in cues
    ]
    return await db.execute(MOVE, json.dumps(moves))


def _text(moment: datetime | None) -> str | None:
    return None if moment is None else moment.isoformat()
