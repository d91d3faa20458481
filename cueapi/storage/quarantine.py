"""Ends what no statement can work with, and tells its user: an alert, and what `on_failure` asks for."""

from uuid import UUID

from cueapi.storage.database import Executor, Row

# `least`: the revision may be the number that has come to its end.


class QuarantineResult(Row):
    """How many alerts, and how many notifications of `on_failure`, a quarantine has raised."""

    alerts: int
    notices: int


# $2 the revision that the cue was read in: nothing happens where it has changed meanwhile. $3 the reason.
CUE = """
with quarantined as (
    update cues
       set status = 'failed', next_run = null, revision = least(revision, 9223372036854775806) + 1, warning = $3,
           updated_at = clock_timestamp()
     where id = $1
       and revision = $2
       and deleted_at is null
 returning id, user_id, name, on_failure_webhook, on_failure_email
)
select count(raise_alert(user_id, 'execution_failed', id, id, null, format('%s: %s', name, $3::text),
                         json_build_object('status', 'failed', 'attempts', 0, 'http_status', null))) as alerts,
       count(tell_of_failure(user_id, on_failure_webhook, on_failure_email,
                             jsonb_build_object('event', 'cue.failed', 'cue_id', id, 'cue_name', name,
                                                'execution_id', null, 'attempts', 0, 'last_http_status', null,
                                                'last_error', $3::text, 'failed_at', iso(now())))) as notices
  from quarantined
"""


async def quarantine_cue(db: Executor, *, cue_id: str, revision: int, reason: str) -> QuarantineResult:
    """End a cue that cannot be fired, with the reason as its warning."""
    result = await db.fetch_one(CUE, cue_id, revision, reason, row=QuarantineResult)
    assert result is not None
    return result


# $2 the reason. One that was delivered, and awaits its outcome, stays as it is and awaits no more. The cue's counters
# are not touched: one of them may be what cannot be written.
EXECUTION = """
with quarantined as (
    update executions
       set status = case when finished_at is null then 'failed' else status end,
           error_message = case when finished_at is null then $2 else error_message end,
           finished_at = coalesce(finished_at, now()), claim = null, lease_until = null, outcome_deadline_at = null,
           updated_at = clock_timestamp()
     where id = $1
       and (finished_at is null or outcome_deadline_at is not null)
 returning id, cue_id, triggered_by, scheduled_for, status, attempts, http_status
), unqueued as (
    delete from outbox where execution_id = $1
), ended as (
    update cues c
       set status = case when c.schedule_type = 'once' then 'failed' else 'paused' end,
           next_run = null, revision = least(c.revision, 9223372036854775806) + 1, updated_at = clock_timestamp()
      from quarantined q
     where c.id = q.cue_id
       and c.deleted_at is null
       and c.status = 'active'
       and case when c.schedule_type = 'recurring' then c.on_failure_pause
                else q.triggered_by = 'scheduled' and q.scheduled_for = c.schedule_at and c.next_run is null end
)
select count(raise_alert(c.user_id, 'execution_failed', q.id::text, c.id, q.id, format('%s: %s', c.name, $2::text),
                         json_build_object('status', q.status, 'attempts', q.attempts,
                                           'http_status', q.http_status))) as alerts,
       count(tell_of_failure(c.user_id, c.on_failure_webhook, c.on_failure_email,
                             jsonb_build_object('event', 'cue.failed', 'cue_id', c.id, 'cue_name', c.name,
                                                'execution_id', q.id, 'attempts', q.attempts,
                                                'last_http_status', q.http_status, 'last_error', $2::text,
                                                'failed_at', iso(now())))) as notices
  from quarantined q
  join cues c on c.id = q.cue_id and c.deleted_at is null
"""


async def quarantine_execution(db: Executor, execution: UUID, *, reason: str) -> QuarantineResult:
    """End an execution whose row, or whose cue's row, cannot be worked with."""
    result = await db.fetch_one(EXECUTION, execution, reason, row=QuarantineResult)
    assert result is not None
    return result
