"""What a user has used: counters that deletes and retention do not touch."""

from cueapi.storage.database import Executor, Row

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


async def this_month(db: Executor, user: int) -> Row | None:
    """The counters of the running month (UTC), and its bounds."""
    return await db.fetch_one(THIS_MONTH, user)


EXECUTIONS = """
select executions from usage where user_id = $1 and month = date_trunc('month', now() at time zone 'utc')::date
"""


async def executions(db: Executor, user: int) -> int:
    """How many executions began this month."""
    row = await db.fetch_one(EXECUTIONS, user)
    return 0 if row is None else row["executions"]
