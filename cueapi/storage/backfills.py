"""Times of a cue that have no execution yet: what a backfill makes."""

from collections.abc import Sequence
from datetime import datetime

from cueapi.storage.database import Executor, Row


class OpenTime(Row):
    """A time that a backfill makes an execution for."""

    at: datetime


# Each look-up is one of a unique index. $3: a time that the schedule has fired is left alone, unless it was missed.
OPEN_TIMES = """
select t.at
  from unnest($2::timestamptz[]) with ordinality t(at, number)
 where not exists (select from executions e
                    where e.cue_id = $1 and e.scheduled_for = t.at and e.triggered_by = 'backfill')
   and (not $3::bool
        or not exists (select from executions e
                        where e.cue_id = $1 and e.scheduled_for = t.at and e.triggered_by = 'scheduled'
                          and e.status || '' <> 'missed'))
 order by t.number
"""


async def open_times(db: Executor, *, cue_id: str, times: Sequence[datetime], only_missing: bool) -> list[datetime]:
    """Those of *times* that were not backfilled yet; with *only_missing* those that have no execution at all."""
    rows = await db.fetch(OPEN_TIMES, cue_id, list(times), only_missing, row=OpenTime)
    return [row.at for row in rows]
