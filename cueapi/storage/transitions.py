"""The one statement that moves executions: a step each, with everything that follows from it."""

import json
from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any
from uuid import UUID

from attrs import asdict

from cueapi.domain.execution import Transition
from cueapi.storage.database import Executor, Row


class TransitionResult(Row):
    """An execution that was moved; with how many alerts and notifications the whole batch has raised."""

    id: UUID
    status: str
    ready_at: datetime
    alerts: int
    notices: int


# $1: the steps, as JSON records. Returns the execution ids whose fence still stood.
#
# Guarantees: a step is written only upon what it was decided on (claim, try, status, last report), and with it,
# or not at all: its outbox row, the log of tries, the cue's counters and row of failures, a one-time cue's end,
# `on_failure.pause`, the month's outcome counters, its alerts (one per subject in 5 minutes: the database's function
# sees to that), and the notices that `on_failure` asks for.
#
# `status || ''` keeps the planner from joining through an index by status: the look-up is by primary key.
APPLY_TRANSITIONS = """
with steps as materialized (
    select *
      from json_to_recordset($1::json) as x(
           ord int, id uuid, claim uuid, attempts int, seen text, seen_outcome int,
           status text, pause float8, released bool, claim_lost bool, delivered bool, deadline float8, final bool,
           wire bool, http_status int, response_body text, error_message text, duration_ms int,
           report bool, success bool, result text, error text, metadata json, state text, validation text,
           missing text, external_id text, result_url text, result_ref text, result_type text, summary text,
           artifacts json, consecutive_failures int, alert text, logged_as text)
), decided as (
    update executions e
       set status = x.status,
           attempts = e.attempts - (case when x.released then 1 else 0 end),
           lost_claims = case when x.claim_lost then e.lost_claims + 1
                              when x.released then e.lost_claims else 0 end,
           ready_at = coalesce(now() + x.pause * interval '1 second', e.ready_at),
           claim = null,
           lease_until = null,
           claimed_by_worker = case when x.final then e.claimed_by_worker end,
           claimed_at = case when x.final then e.claimed_at end,
           delivered_at = case when x.delivered then coalesce(e.delivered_at, now()) else e.delivered_at end,
           finished_at = case when x.final then coalesce(e.finished_at, now()) end,
           http_status = case when x.wire then x.http_status else e.http_status end,
           response_body = case when x.wire then x.response_body else e.response_body end,
           error_message = case when x.wire or x.error_message is not null or (x.success and x.status = 'success')
                                then x.error_message else e.error_message end,
           outcome_attempt = case when x.report then x.attempts else e.outcome_attempt end,
           outcome_success = case when x.report then x.success else e.outcome_success end,
           outcome_result = case when x.report then x.result else e.outcome_result end,
           outcome_error = case when x.report then x.error else e.outcome_error end,
           outcome_metadata = case when x.report then x.metadata else e.outcome_metadata end,
           outcome_recorded_at = case when x.report then now() else e.outcome_recorded_at end,
           outcome_state = case when x.report then x.state else e.outcome_state end,
           validation_state = case when x.report then x.validation else e.validation_state end,
           external_id = case when x.report then x.external_id else e.external_id end,
           result_url = case when x.report then x.result_url else e.result_url end,
           result_ref = case when x.report then x.result_ref else e.result_ref end,
           result_type = case when x.report then x.result_type else e.result_type end,
           summary = case when x.report then x.summary else e.summary end,
           artifacts = case when x.report then x.artifacts else e.artifacts end,
           outcome_deadline_at = case when x.released or (x.final and x.deadline is null and not x.wire)
                                      then e.outcome_deadline_at
                                      else now() + x.deadline * interval '1 second' end,
           updated_at = clock_timestamp()
      from steps x
     where e.id = x.id
       and e.claim is not distinct from x.claim
       and e.attempts = x.attempts
       and e.status || '' = x.seen
       and (x.seen_outcome is null or coalesce(e.outcome_attempt, -1) = x.seen_outcome)
 returning x.ord, e.id, e.cue_id, e.user_id, e.transport, e.triggered_by, e.scheduled_for, e.status, e.ready_at,
           e.error_message, e.last_attempt_at, x.attempts, x.final,
           x.seen in ('success', 'failed', 'missed', 'outcome_timeout') as was_final,
           x.final or not exists (select from cues c where c.id = e.cue_id and c.deleted_at is null) as leaves,
           x.report, x.success, x.missing, x.consecutive_failures, x.alert, x.logged_as,
           x.http_status, x.duration_ms, coalesce(x.error_message, x.error) as try_error
), unqueued as (
    -- The tries of a deleted cue end with the one that was under way.
    delete from outbox o using decided d where o.execution_id = d.id and d.leaves
), requeued as (
    -- What was delivered and is tried again, after its deadline, has no row any more.
    insert into outbox (execution_id, cue_id, user_id, host, ready_at)
    select d.id, d.cue_id, d.user_id, c.callback_host, d.ready_at
      from decided d
      join cues c on c.id = d.cue_id
     where d.transport = 'webhook' and not d.leaves
     order by d.id
        on conflict (execution_id) do update
       set claimed_by = null, lease_until = null, ready_at = excluded.ready_at
), tried as (
    insert into attempts (execution_id, attempt, started_at, duration_ms, http_status, error, outcome)
    select id, attempts, last_attempt_at,
           -- Not below 0 where the clock was set back meanwhile.
           greatest(coalesce(duration_ms, extract(epoch from now() - last_attempt_at) * 1000), 0),
           http_status, try_error, logged_as
      from decided
     where logged_as is not null and attempts > 0
        on conflict (execution_id, attempt) do update
       set outcome = excluded.outcome,
           error = coalesce(excluded.error, attempts.error),
           http_status = coalesce(excluded.http_status, attempts.http_status)
), counted as (
    insert into usage (user_id, month, reported, succeeded, failed)
    select user_id, date_trunc('month', now() at time zone 'utc')::date,
           count(*), count(*) filter (where success), count(*) filter (where not success)
      from decided
     where report
     group by user_id
     order by user_id
        on conflict (user_id, month) do update
       set reported = usage.reported + excluded.reported,
           succeeded = usage.succeeded + excluded.succeeded,
           failed = usage.failed + excluded.failed
), resets as (
    select cue_id, max(ord) as at from decided where consecutive_failures = 0 group by cue_id
), failure_runs as (
    -- The rows of failures that a batch goes on with or begins: each success report ends one.
    select cue_id, ended, count(*) filter (where consecutive_failures = 1) as failures
      from (select cue_id, consecutive_failures,
                   count(*) filter (where consecutive_failures = 0) over (partition by cue_id order by ord) as ended
              from decided
             where consecutive_failures is not null) s
     group by cue_id, ended
), moves as (
    select d.cue_id,
           count(*) filter (where d.final and not d.was_final)
               - count(*) filter (where d.was_final and not d.final) as runs,
           max(r.at) as reset_at,
           count(*) filter (where d.consecutive_failures = 1 and d.ord > coalesce(r.at, -1)) as failures,
           bool_or(d.alert is not null) as lost
      from decided d
      left join resets r using (cue_id)
     group by d.cue_id
    having bool_or(d.final or d.was_final or d.consecutive_failures is not null)
), locked as (
    -- In one order, whoever writes: two recorders must not wait for each other.
    select c.id, c.consecutive_failures as before,
           m.runs, m.reset_at, m.failures,
           -- What the execution of a one-time cue makes of it; that of an earlier schedule makes nothing.
           (select max(case when not d.final and not d.was_final then null
                            when not d.final then 'active'
                            when d.status = 'success' then 'completed'
                            else 'failed' end)
              from decided d
             where c.schedule_type = 'once' and d.cue_id = c.id
               and d.triggered_by = 'scheduled'
               and d.scheduled_for = coalesce(c.schedule_at, d.scheduled_for)) as once_status,
           c.on_failure_pause and m.lost as pauses, c.on_failure_webhook as hook, c.on_failure_email as mail
      from cues c
      join moves m on m.cue_id = c.id
     where c.deleted_at is null
     order by c.id
       for no key update of c
), moved as (
    update cues c
       set run_count = c.run_count + l.runs,
           consecutive_failures = l.failures + case when l.reset_at is null then c.consecutive_failures else 0 end,
           status = case when c.schedule_type = 'once' and c.next_run is null and l.once_status is not null
                         then l.once_status
                         when l.pauses and c.status = 'active' and c.schedule_type = 'recurring' then 'paused'
                         else c.status end,
           next_run = case when l.pauses and c.schedule_type = 'recurring' then null else c.next_run end,
           -- It moves with the status: a change that was made upon the cue before it ended must not revive it.
           revision = c.revision
                    + (case when l.pauses then 1
                            when c.schedule_type = 'once' and c.next_run is null and l.once_status <> c.status then 1
                            else 0 end)
      from locked l
     where c.id = l.id
 returning c.id as cue_id, c.user_id, c.name, l.before, l.hook, l.mail,
           coalesce(c.alert_consecutive_failures, 3) as every
), raised as (
    select d.user_id, d.alert as alert_type,
           case when d.alert = 'missed_run' then d.cue_id else d.id::text end as subject,
           d.cue_id, d.id as execution_id,
           format('%s: %s', m.name, coalesce(d.error_message, d.try_error, 'a failure was reported')) as message,
           json_build_object('status', d.status, 'attempts', d.attempts, 'http_status', d.http_status) as metadata
      from decided d
      join moved m on m.cue_id = d.cue_id
     where d.alert is not null
     union all
    select d.user_id, 'verification_failed', d.id::text, d.cue_id, d.id,
           format('The outcome of execution %s was reported without %s.', d.id, d.missing),
           json_build_object('missing', d.missing)
      from decided d
      join moved m on m.cue_id = d.cue_id
     where d.missing is not null
     union all
    select m.user_id, 'consecutive_failures', m.cue_id, m.cue_id, null,
           format('%s: %s failures in a row', m.name, n.before + s.failures),
           json_build_object('consecutive_failures', n.before + s.failures)
      from moved m
      join failure_runs s using (cue_id)
      join lateral (select case when s.ended = 0 then m.before else 0 end::bigint as before) n on true
     where (n.before + s.failures) / m.every > n.before / m.every
), failures as (
    select d.user_id, m.hook, m.mail,
           jsonb_build_object('event', 'cue.failed', 'cue_id', d.cue_id, 'cue_name', m.name, 'execution_id', d.id,
                              'attempts', d.attempts, 'last_http_status', d.http_status,
                              'last_error', coalesce(d.error_message, d.try_error), 'failed_at', iso(now())) as failure
      from decided d
      join moved m on m.cue_id = d.cue_id
     where d.alert is not null
       and (m.hook is not null or m.mail)
     order by d.user_id, d.ord
)
select id, status, ready_at,
       (select count(raise_alert(user_id, alert_type, subject, cue_id, execution_id, message, metadata))
          from (select * from raised order by user_id, alert_type, subject) r) as alerts,
       (select count(*) from (select tell_of_failure(user_id, hook, mail, failure) from failures offset 0) f) as notices
  from decided
"""


async def apply_transitions(db: Executor, steps: Iterable[Transition]) -> dict[UUID, TransitionResult]:
    """Write *steps* down, at most one for an execution; the rows of those whose fence still stood, by id."""
    records = [_record(ord_, step) for ord_, step in enumerate(steps)]
    rows = await db.fetch(APPLY_TRANSITIONS, json.dumps(records, separators=(",", ":")), row=TransitionResult)
    return {row.id: row for row in rows}


def has_alerts(written: Mapping[UUID, TransitionResult]) -> bool:
    """True where what was written has raised alerts or notices."""
    return any(row.alerts or row.notices for row in written.values())


def _record(ord_: int, step: Transition) -> dict[str, Any]:
    """A step as a JSON record; what it leaves out is null."""
    fence = step.fence
    record: dict[str, Any] = {
        "ord": ord_,
        "id": str(fence.execution_id),
        "claim": fence.claim and str(fence.claim),
        "attempts": fence.attempts,
        "seen": fence.status,
        "seen_outcome": fence.outcome_attempt,
        "status": step.status,
        "pause": step.pause,
        "released": step.released,
        "claim_lost": step.claim_lost,
        "delivered": step.delivered,
        "deadline": step.deadline,
        "final": step.ends,
        "wire": step.record is not None,
        "error_message": step.error,
        "report": step.report is not None,
        "consecutive_failures": step.consecutive_failures,
        "alert": step.alert,
        "logged_as": step.logged_as,
    }
    if step.record is not None:
        record |= asdict(step.record)
    if step.report is not None and step.verification is not None:
        report, verification = step.report, step.verification
        record |= {
            "success": report.success,
            "result": report.result,
            "error": report.error,
            "metadata": report.metadata,
            "state": verification.state,
            "validation": verification.validation,
            "missing": verification.missing,
            **asdict(report.evidence),
        }
    return record
