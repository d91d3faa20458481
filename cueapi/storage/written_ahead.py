"""What was written while PostgreSQL's clock was ahead of where it is now: found, and put right."""

import json
from collections.abc import Iterable
from datetime import datetime

from attrs import frozen

from cueapi.storage.database import Executor, Row
from cueapi.storage.statements import load


class PutRight(Row):
    """How many executions, and other rows, were put right, and whether there are *cues* to plan anew."""

    executions: int
    others: int
    cues: bool


PUT_RIGHT = load("put_right", ())


async def put_right(db: Executor) -> PutRight:
    """Put right a batch of everything but cues."""
    found = await db.fetch_one(PUT_RIGHT, row=PutRight)
    assert found is not None
    return found


class AheadCueRow(Row):
    """A cue that was planned or fired later than now; *cron* is null where its time does not follow from now."""

    id: str
    next_run: datetime | None
    revision: int
    cron: str | None
    timezone: str
    now: datetime


AHEAD_CUES = """
select id, next_run, revision, case when status = 'active' and next_run is not null then cron end as cron, timezone,
       clock_timestamp() as now
  from cues
 where greatest(last_run, planned_at) > now() + interval '1 second'
 limit 500
"""


async def ahead_cues(db: Executor) -> list[AheadCueRow]:
    """A batch of cues that were planned or fired later than now."""
    return await db.fetch(AHEAD_CUES, row=AheadCueRow)


@frozen
class PlannedAnew:
    """A cue as it was found, the *next_run* that it gets, and what its zone's clock shows then (None: as stored)."""

    cue: AheadCueRow
    next_run: datetime | None
    next_local: datetime | None = None


# Fenced as a poll is: a cue that was fired or changed meanwhile is found again.
PLAN_ANEW = """
update cues c
   set next_run = t.next, next_local = coalesce(t.local, c.next_local), planned_at = now(),
       last_run = case when c.last_run > now() then now() else c.last_run end
  from json_to_recordset($1::json) as t(cue text, seen timestamptz, revision bigint, next timestamptz, local timestamp)
 where c.id = t.cue
   and c.next_run is not distinct from t.seen
   and c.revision = t.revision
"""


async def plan_anew(db: Executor, cues: Iterable[PlannedAnew]) -> int:
    """Store these, as planned now; how many still stood as they were found."""
    moves = [
        {
            "cue": one.cue.id,
            "seen": one.cue.next_run and one.cue.next_run.isoformat(),
            "revision": one.cue.revision,
            "next": one.next_run and one.next_run.isoformat(),
            "local": one.next_local and one.next_local.isoformat(),
        }
        for one in cues
    ]
    return await db.execute(PLAN_ANEW, json.dumps(moves))
