"""What a user has used: counters that deletes and retention do not touch."""

from datetime import datetime

from cueapi.storage.database import Executor, Row, fetch_value


class UsageRow(Row):
    """The counters of the running month (UTC), and its bounds."""

    plan: str
    live_cues: int
    active: int
    executions: int
    reported: int
    succeeded: int
    failed: int
    now: datetime
    starts: datetime
    ends: datetime


THIS_MONTH = """
select u.plan, u.live_cues,
       (select count(*) from cues where user_id = $1 and status = 'active' and deleted_at is null) as active,
       coalesce(m.executions, 0) as executions, coalesce(m.reported, 0) as reported,
       coalesce(m.succeeded, 0) as succeeded, coalesce(m.failed, 0) as failed,
       now() as now, date_trunc('month', now() at time zone 'utc') at time zone 'utc' as starts,
       (date_trunc('month', now() at time zone 'utc') + interval '1 month') at time zone 'utc' as ends
  from users u
  left join usage m on m.user_id = u.id and m.month = date_trunc('month', now() at time zone 'utc')::date
 where u.id = $1
"""


async def this_month(db: Executor, user: int) -> UsageRow | None:
    """What the user has used in the running month."""
    return await db.fetch_one(THIS_MONTH, user, row=UsageRow)


EXECUTIONS = """
select executions from usage where user_id = $1 and month = date_trunc('month', now() at time zone 'utc')::date
"""


async def executions(db: Executor, user: int) -> int:
    """How many executions began this month."""
    return await fetch_value(db, EXECUTIONS, user, kind=int) or 0
