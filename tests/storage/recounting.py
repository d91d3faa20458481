"""What the rollup of ended executions says, beside a count of the executions themselves."""

from cueapi.storage.database import Executor

# Of both tables the sums; of what was deleted the rollup goes on knowing. The clock of tests is not set back.
DIFFERENCES = """
with told as (
    select user_id, date_trunc('hour', bucket, 'utc') as hour, status, sum(count) as count,
           sum(unsuccessful) as unsuccessful, sum(lag_sum) as lag, max(lag_max) as most
      from (table tallies union all table hourly_tallies) t
     group by 1, 2, 3
    having sum(count) <> 0
), counted as (
    select user_id, date_trunc('hour', finished_at, 'utc') as hour, status, count(*) as count,
           count(*) filter (where status = 'success' and outcome_attempt = attempts
                              and outcome_state in ('reported_failure', 'verification_failed')) as unsuccessful,
           coalesce(sum(greatest(extract(epoch from started_at - scheduled_for) * 1000, 0)::bigint), 0) as lag,
           max(greatest(extract(epoch from started_at - scheduled_for) * 1000, 0)::bigint) as most
      from executions
     where finished_at is not null
     group by 1, 2, 3
)
select format('%s are told, and %s counted', told, counted) as difference
  from told
  full join counted using (user_id, hour, status)
 where (told.count, told.unsuccessful, told.lag) is distinct from (counted.count, counted.unsuccessful, counted.lag)
       -- The greatest lag of one that has left its status since is kept.
    or told.most < counted.most
"""


async def differences(database: Executor) -> list[str]:
    """Each place where the rollup is wrong."""
    return [row["difference"] for row in await database.fetch(DIFFERENCES)]
