"""The first page: what is wrong, what runs, what comes next, and what has ended lately."""

from datetime import datetime, timedelta
from uuid import UUID

from attrs import frozen

from cueapi.storage.dashboard.lines import JOINED, LINE, LineColumns
from cueapi.storage.database import Executor, Row
from cueapi.storage.statements import load


class CueLine(Row):
    """
    A cue that fails, is late or comes next (*kind*), and in each row how many cues live and fail, and what is open.

    Of the *begun* executions among the newest 500 of a day, 95 % were late by *lag_p95* milliseconds at most.
    *since* is when its failures began, when its oldest work was due, or when it fires. What concerns the last failure
    is null for the other kinds.
    """

    now: datetime
    live_cues: int
    failing: int
    has_cues: bool
    incidents: int
    open_since: datetime | None
    failing_incidents: int
    begun: int
    lag_p95: int | None
    kind: str | None
    id: str
    name: str
    status: str
    transport: str
    cron: str | None
    timezone: str
    callback_host: str | None
    warning: str | None
    since: datetime | None
    waiting: int
    consecutive_failures: int
    execution_id: UUID | None
    http_status: int | None
    attempts: int | None
    told: str | None


NOW_CUES = load("now_cues", ("user",))


class ExecutionLine(LineColumns, Row):
    """A line of what runs, or of the newest; *deadline* is until when its attempt must end."""

    kind: str
    deadline: datetime | None


NOW_EXECUTIONS = load("now_executions", ("user",), line=LINE, joined=JOINED)


class BucketRow(Row):
    """A step of time: how many executions ended in it, and how late those that began were, in milliseconds."""

    bucket: datetime
    succeeded: int
    failed: int
    missed: int
    lag_mean: float | None
    lag_max: int | None


# $2 the length of a step, and $3 how many, of which the last is now. What is 8 days old is counted by the hour.
# A delivery whose outcome is a failure has failed. Rows are compared with the user, so that no index is read which has
# other accounts' rows of that time.
TALLIED = """
with first as (
    select date_bin($2::interval, now(), '2000-01-01 00:00:00+00') - ($3::int - 1) * $2::interval as bucket
)
select date_bin($2::interval, bucket, '2000-01-01 00:00:00+00') as bucket,
       greatest(coalesce(sum(count - unsuccessful) filter (where status = 'success'), 0), 0)::int as succeeded,
       greatest(coalesce(sum(case status when 'success' then unsuccessful else count end)
                         filter (where status <> 'missed'), 0), 0)::int as failed,
       greatest(coalesce(sum(count) filter (where status = 'missed'), 0), 0)::int as missed,
       (sum(lag_sum) / nullif(sum(count) filter (where lag_max is not null), 0))::float8 as lag_mean,
       max(lag_max)::int8 as lag_max
  from (select bucket, status, count, unsuccessful, lag_sum, lag_max
          from tallies
         where user_id = $1
           and (user_id, bucket) >= ($1, (select bucket from first))
         union all
        select bucket, status, count, unsuccessful, lag_sum, lag_max
          from hourly_tallies
         where user_id = $1
           and (user_id, bucket) >= ($1, (select bucket from first))) t
 group by 1
 order by 1
"""


@frozen
class FirstPage:
    """What the page shows; *cues* has at least one row, with the counts."""

    cues: list[CueLine]
    executions: list[ExecutionLine]
    buckets: list[BucketRow]


async def read(db: Executor, user: int, *, step: timedelta, steps: int) -> FirstPage:
    """The first page of *user*, with what ended in the last *steps*."""
    return FirstPage(
        await db.fetch(NOW_CUES, user, row=CueLine),
        await db.fetch(NOW_EXECUTIONS, user, row=ExecutionLine),
        await db.fetch(TALLIED, user, step, steps, row=BucketRow),
    )
