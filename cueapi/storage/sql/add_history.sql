-- A past that has not happened here, for a demo: executions that have ended or wait for a worker, and all that would be
-- there if they had run. :executions, :attempts, :alerts and :workers are JSON records of these tables, :failures is how
-- many executions of a cue have failed in a row, by its id. The cues of one account are there already.
with told as materialized (
    select * from json_populate_recordset(null::executions, :executions::json)
), made as (
    insert into executions (
           id, cue_id, user_id, transport, triggered_by, replayed_from, scheduled_for, status, ready_at, attempts,
           claimed_by_worker, claimed_at, started_at, last_attempt_at, delivered_at, finished_at, http_status,
           response_body, error_message, payload, task, outcome_attempt, reported_attempt, outcome_success, outcome_result,
           outcome_error, outcome_recorded_at, outcome_state, dead_at, created_at, updated_at)
    select t.id, t.cue_id, c.user_id, c.transport, t.triggered_by, t.replayed_from, t.scheduled_for, t.status,
           t.ready_at, t.attempts, t.claimed_by_worker, t.claimed_at, t.started_at, t.last_attempt_at, t.delivered_at,
           t.finished_at, t.http_status, t.response_body, t.error_message, c.payload, c.task, t.outcome_attempt,
           t.reported_attempt,
           t.outcome_success, t.outcome_result, t.outcome_error, t.outcome_recorded_at, t.outcome_state,
           case when (t.status in ('failed', 'outcome_timeout') or t.status = 'missed' and c.transport = 'worker')
                     and not exists (select from told r where r.replayed_from = t.id and r.status = 'success')
                then t.finished_at end,
           t.created_at, t.updated_at
      from told t
      join cues c on c.id = t.cue_id
 returning *
), logged as (
    insert into attempts (execution_id, attempt, started_at, duration_ms, sent_after_ms, first_byte_after_ms,
                          http_status, error, outcome, response_body)
    select execution_id, attempt, started_at, duration_ms, sent_after_ms, first_byte_after_ms,
           http_status, error, outcome, response_body
      from json_populate_recordset(null::attempts, :attempts::json)
), raised as (
    insert into alerts (id, user_id, cue_id, execution_id, alert_type, severity, message, acknowledged, created_at)
    select a.id, c.user_id, a.cue_id, a.execution_id, a.alert_type, a.severity, a.message, a.acknowledged, a.created_at
      from json_populate_recordset(null::alerts, :alerts::json) a
      join cues c on c.id = a.cue_id
), opened as (
    -- One for each cue that fails, from the first of its last failures in a row on.
    insert into incidents (id, user_id, kind, subject, name, severity, title, cue_id, events, first_execution_id,
                           last_execution_id, opened_at)
    select gen_random_uuid(), c.user_id, 'failing', c.id, c.name, 'critical',
           format('%s is failing: %s', c.name, coalesce(l.reasons[1], 'a failure was reported')), c.id, f.number::bigint,
           l.ids[least(f.number::int, cardinality(l.ids))], l.ids[1],
           l.moments[least(f.number::int, cardinality(l.ids))]
      from json_each_text(:failures::json) as f(cue, number)
      join cues c on c.id = f.cue
     cross join lateral (
           select array_agg(id order by created_at desc, id desc) as ids,
                  array_agg(finished_at::timestamptz order by created_at desc, id desc) as moments,
                  array_agg(coalesce(outcome_error, error_message) order by created_at desc, id desc) as reasons
             from made
            where cue_id = c.id
              and finished_at is not null
              and (status <> 'success' or unsuccessful(status, attempts, outcome_attempt, outcome_state) = 1)) l
     where f.number::int > 0
       and l.ids is not null
), seen as (
    insert into workers (user_id, worker_id, handlers, registered_since, last_heartbeat)
    select u.user_id, w.worker_id, w.handlers, w.registered_since, w.last_heartbeat
      from json_populate_recordset(null::workers, :workers::json) w
     cross join (select distinct user_id from made) u
), tallied as (
    insert into tallies (user_id, bucket, status, count, unsuccessful, lag_sum, lag_max)
    select user_id, five_minutes(finished_at), status, count(*),
           sum(unsuccessful(status, attempts, outcome_attempt, outcome_state)),
           coalesce(sum(lag_of(started_at, scheduled_for)), 0), max(lag_of(started_at, scheduled_for))
      from made
     where finished_at is not null
     group by 1, 2, 3
-- include: add_tally
), counted as (
    insert into usage (user_id, month, executions, reported, succeeded, failed)
    select user_id, date_trunc('month', created_at at time zone 'utc')::date, count(*), count(outcome_success),
           count(*) filter (where outcome_success), count(*) filter (where not outcome_success)
      from made
     group by 1, 2
        on conflict (user_id, month) do update
       set executions = usage.executions + excluded.executions,
           reported = usage.reported + excluded.reported,
           succeeded = usage.succeeded + excluded.succeeded,
           failed = usage.failed + excluded.failed
), summed as (
    select cue_id, min(created_at) as first, max(created_at) filter (where status <> 'missed') as last,
           count(*) as fired, count(finished_at) as ended
      from made
     group by cue_id
)
update cues c
   set created_at = s.first - interval '1 day',
       updated_at = s.first - interval '1 day',
       last_run = s.last,
       fired_count = c.fired_count + s.fired,
       run_count = c.run_count + s.ended,
       consecutive_failures = coalesce((:failures::json ->> c.id)::bigint, 0)
  from summed s
 where c.id = s.cue_id
