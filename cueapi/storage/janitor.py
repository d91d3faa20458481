"""Deletes what has expired, in small batches."""

from typing import LiteralString

from cueapi.storage.database import Executor

BATCH = 1_000

# A deleted cue's history goes first, then the cue. skip locked: two daemons' janitors do not wait for each other.
HISTORY = """
with gone as (
    select e.id
      from executions e
      join cues c on c.id = e.cue_id
     where c.deleted_at < now() - interval '1 minute'
       and not exists (select 1 from outbox o where o.execution_id = e.id)
     limit $1
       for update of e skip locked
), logged as (
    delete from attempts a using gone g where a.execution_id = g.id
), raised as (
    delete from alerts a using gone g where a.execution_id = g.id
)
delete from executions e using gone g where e.id = g.id
"""

CUES = """
delete from cues
 where id in (select c.id
                from cues c
               where c.deleted_at < now() - interval '1 minute'
                 and not exists (select 1 from executions e where e.cue_id = c.id)
               limit $1)
"""

# $2 days. In the order of the index: else each batch would sort all that is old.
RETIRED = """
with old as (
    select id
      from executions
     where finished_at < now() - $2::int * interval '1 day'
       and (outcome_deadline_at is null or outcome_deadline_at < now())
     order by finished_at
     limit $1
       for update skip locked
), logged as (
    delete from attempts a using old o where a.execution_id = o.id
)
delete from executions e using old o where e.id = o.id
"""

RETIRED_ALERTS = """
delete from alerts
 where id in (select id from alerts where created_at < now() - $2::int * interval '1 day' limit $1)
"""

RETIRED_INCIDENTS = """
delete from incidents
 where id in (select id from incidents where resolved_at < now() - $2::int * interval '1 day' limit $1)
"""

RETIRED_AUDIT = """
delete from audit
 where id = any (array(select id
                         from audit
                        where greatest(at) < now() - $2::int * interval '1 day'
                        order by greatest(at)
                        limit $1))
"""

# What is 8 days old is counted by the hour from then on. No outcome may come later than 7 days after its attempt.
HOURLY = """
with old as (
    select user_id, bucket, status
      from tallies
     where bucket < now() - interval '8 days'
     order by bucket
     limit $1
       for update skip locked
), gone as (
    delete from tallies t using old o where (t.user_id, t.bucket, t.status) = (o.user_id, o.bucket, o.status)
 returning t.*
)
insert into hourly_tallies (user_id, bucket, status, count, unsuccessful, lag_sum, lag_max)
select user_id, date_trunc('hour', bucket, 'utc'), status, sum(count), sum(unsuccessful), sum(lag_sum), max(lag_max)
  from gone
 group by 1, 2, 3
 order by 1, 2, 3
    on conflict (user_id, bucket, status) do update
   set count = hourly_tallies.count + excluded.count,
       unsuccessful = hourly_tallies.unsuccessful + excluded.unsuccessful,
       lag_sum = hourly_tallies.lag_sum + excluded.lag_sum,
       lag_max = greatest(hourly_tallies.lag_max, excluded.lag_max)
"""

RETIRED_TALLIES = """
delete from hourly_tallies
 where (user_id, bucket, status) in
       (select user_id, bucket, status from hourly_tallies where bucket < now() - $2::int * interval '1 day' limit $1)
"""

# First what they have made, which may be ten thousand rows each.
RETIRED_OPERATION_EXECUTIONS = """
delete from operation_executions
 where execution_id in (select x.execution_id
                          from operations o
                          join operation_executions x on x.operation_id = o.id
                         where o.finished_at < now() - $2::int * interval '1 day'
                         limit $1)
"""

RETIRED_OPERATIONS = """
delete from operations
 where id in (select o.id
                from operations o
               where o.finished_at < now() - $2::int * interval '1 day'
                 and not exists (select from operation_executions x where x.operation_id = o.id)
               limit $1)
"""

RETIRED_ROWS: tuple[LiteralString, ...] = (
    RETIRED, RETIRED_ALERTS, RETIRED_INCIDENTS, RETIRED_TALLIES, RETIRED_OPERATION_EXECUTIONS, RETIRED_OPERATIONS,
)  # fmt: skip

EXPIRED: tuple[LiteralString, ...] = (
    "delete from alert_gates where (user_id, alert_type, subject) in"
    " (select user_id, alert_type, subject from alert_gates where raised_at < now() - interval '25 hours' limit $1)",
    "delete from idempotency_keys where (user_id, key, path, method) in"
    " (select user_id, key, path, method from idempotency_keys"
    "   where created_at < now() - interval '24 hours' limit $1)",
    "delete from device_codes where code in"
    " (select code from device_codes where expires_at < now() - interval '1 day' limit $1)",
    "delete from address_links where token_hash in"
    " (select token_hash from address_links where expires_at < now() limit $1)",
    "delete from sign_in_links where token_hash in"
    " (select token_hash from sign_in_links where expires_at < now() limit $1)",
    "delete from browser_sessions where hash in"
    " (select hash from browser_sessions where seen_at < now() - interval '12 hours' limit $1)",
    "delete from session_tokens where hash in (select hash from session_tokens where expires_at < now() limit $1)",
    "delete from api_keys where hash in"
    " (select hash from api_keys where rotated_at < now() - interval '24 hours' limit $1)",
    # For so long they answer that they have expired.
    "delete from api_keys where hash in"
    " (select hash from api_keys where expires_at < now() - interval '30 days' limit $1)",
    "delete from echoes where token in (select token from echoes where expires_at < now() limit $1)",
    "delete from workers where (user_id, worker_id) in"
    " (select user_id, worker_id from workers where last_heartbeat < now() - interval '30 days' limit $1)",
    "delete from mutes where (user_id, scope, subject) in"
    " (select user_id, scope, subject from mutes where until < now() - interval '1 day' limit $1)",
    # What a target that has served for so long once was says nothing any more.
    "delete from targets where (user_id, host) in"
    " (select user_id, host from targets"
    "   where state = 'closed' and since < now() - interval '30 days' and held_until < now() limit $1)",
    # Claims whose execution was deleted in SQL.
    "delete from outbox where execution_id in"
    " (select o.execution_id from outbox o"
    "   where o.claimed_by is not null and o.lease_until < now() - interval '1 hour'"
    "     and not exists (select from executions e where e.id = o.execution_id) limit $1)",
    "delete from usage where (user_id, month) in"
    " (select user_id, month from usage where month < now() - interval '24 months' limit $1)",
)


async def delete_removed_cues(db: Executor) -> int:
    """Remove a batch of what belonged to deleted cues; how many rows went."""
    return await db.execute(HISTORY, BATCH) + await db.execute(CUES, BATCH)


async def apply_retention(db: Executor, days: int) -> int:
    """Remove a batch of what is older than the retention; how many rows went."""
    gone = 0
    for statement in RETIRED_ROWS:
        gone += await db.execute(statement, BATCH, days)
    return gone


async def end_audit(db: Executor, days: int) -> int:
    """Remove a batch of the audit's rows that are older than its retention; how many went."""
    return await db.execute(RETIRED_AUDIT, BATCH, days)


async def merge_tallies(db: Executor) -> int:
    """Merge a batch of old tallies of five minutes into those of their hours; into how many rows."""
    return await db.execute(HOURLY, BATCH)


async def delete_expired(db: Executor) -> int:
    """Remove a batch of each kind of thing that has expired; how many rows went."""
    gone = 0
    for statement in EXPIRED:
        gone += await db.execute(statement, BATCH)
    return gone
