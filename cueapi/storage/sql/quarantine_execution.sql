-- An execution that was delivered, and awaits its outcome, stays as it is and awaits it no more. The cue's counters are not
-- touched: one of them may be what cannot be written. `least`: the revision may be at the end of its numbers. Of a
-- backfill's execution its operation tells alone.
with quarantined as (
    update executions
       set status = case when finished_at is null then 'failed' else status end,
           error_message = case when finished_at is null then :reason else error_message end,
           dead_at = case when finished_at is null then now() else dead_at end,
           finished_at = coalesce(finished_at, now()), claim = null, lease_until = null, outcome_deadline_at = null,
           updated_at = clock_timestamp()
     where id = :execution
       and (finished_at is null or outcome_deadline_at is not null)
 returning id, cue_id, user_id, triggered_by, scheduled_for, status, attempts, http_status, started_at, finished_at
), unqueued as (
    delete from outbox where execution_id = :execution
), counted as (
    update operation_executions x
       set failed = true
      from quarantined q
     where x.execution_id = q.id
       and q.triggered_by = 'backfill'
       and q.status = 'failed'
), locked as materialized (
    -- Before the tallies, and before an incident opens, which must see how the cue asks to be told of it.
    select id from cues where id in (select cue_id from quarantined) and deleted_at is null for no key update
), ended as (
    update cues c
       set status = case when c.schedule_type = 'once' then 'failed' else 'paused' end,
           pause_reason = case when c.schedule_type = 'recurring' then pause_reason(q.id, :reason) end,
           next_run = null, revision = least(c.revision, 9223372036854775806) + 1, updated_at = clock_timestamp()
      from quarantined q
     where c.id = q.cue_id
       and (select count(*) from locked) is not null
       and c.deleted_at is null
       and c.status = 'active'
       and case when c.schedule_type = 'recurring' then c.on_failure_pause and q.triggered_by <> 'backfill'
                else q.triggered_by = 'scheduled' and q.scheduled_for = c.schedule_at and c.next_run is null end
 returning c.id, c.user_id, c.name, c.status, c.pause_reason
), audited as (
    select write_audit(e.user_id, system_act(e.pause_reason), 'cue.paused', 'cue', e.id, e.name,
                       changes_of(field_change('status', 'active'::text, 'paused'::text))) as id
      from ended e
     where e.status = 'paused'
     union all
    select write_audit(q.user_id, system_act(:reason), 'execution.set_aside', 'execution', q.id::text, c.name)
      from quarantined q
      left join cues c on c.id = q.cue_id
), counting as materialized (
    -- As in apply_transitions.sql.
    select id from users where id in (select user_id from ended) for no key update
), tallied as (
    -- What had ended before was counted then.
    insert into tallies (user_id, bucket, status, count, lag_sum, lag_max)
    select q.user_id, five_minutes(q.finished_at), q.status, 1,
           coalesce(lag_of(q.started_at, q.scheduled_for), 0), lag_of(q.started_at, q.scheduled_for)
      from quarantined q
     where q.finished_at = now()
       and (select count(*) from counting) is not null
-- include: add_tally
 returning 1
)
select count(case when q.triggered_by <> 'backfill'
                  then raise_alert(c.user_id, 'execution_failed', q.id::text, c.id, q.id,
                                   format('%s: %s', c.name, :reason::text),
                                   json_build_object('status', q.status, 'attempts', q.attempts,
                                                     'http_status', q.http_status), of_incident => i.id) end) as alerts,
       count(case when q.triggered_by <> 'backfill'
                  then tell_of_failure(c.user_id, c.on_failure_webhook, c.on_failure_email,
                                       jsonb_build_object('event', 'cue.failed', 'cue_id', c.id, 'cue_name', c.name,
                                                          'execution_id', q.id, 'attempts', q.attempts,
                                                          'last_http_status', q.http_status,
                                                          'last_error', :reason::text,
                                                          'failed_at', iso(now())), i.id) end) as notices,
       max(c.id) as cue_id, max(c.name) as cue_name, exists (select from ended where status = 'paused') as has_paused
  from quarantined q
  join cues c on c.id = q.cue_id and c.deleted_at is null
  left join lateral (
       select open_incident(c.user_id, 'set_aside', c.id, c.name, format('%s: an execution was set aside: %s', c.name,
                            :reason::text), 'critical', c.id, q.id, by_mail => not c.on_failure_email) as id
        where q.triggered_by <> 'backfill'
       offset 0) i on true
 -- Before the alerts and mails, whose gates others lock behind their tallies.
 where (select count(*) from tallied) is not null
   and (select count(*) from audited) is not null
