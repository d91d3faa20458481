-- What failures, and reports without their evidence, lead to: failures in a row, incidents, alerts, what `on_failure`
-- asks for.
--
-- :failures are JSON records of what apply_transitions.sql has just written in this transaction, which holds the locks
-- of their cues; what did well is among them, since a success report ends a row of failures, and both count towards the
-- end of an incident. `on_failure` follows where an execution is lost, which is where an `alert` says why. The
-- database's functions see to it that there is one unresolved incident and one alert in 5 minutes for a subject, and
-- that a user gets ten mails in an hour.
with failures as materialized (
    select f.ord, f.attempts, f.http_status, f.alert, f.missing, f.unmet, f.consecutive_failures, f.good, f.report,
           -- As in apply_transitions.sql, where reports are all that is among these.
           f.seen = 'success' and e.outcome_deadline_at is null as was_good,
           e.id, e.status, e.outcome_state, e.transport, e.cue_id, c.user_id, c.name,
           c.consecutive_failures as before, c.on_failure_email,
           coalesce(e.error_message, f.error) as reason,
           count(*) filter (where f.consecutive_failures = 0) over (partition by e.cue_id order by f.ord) as run,
           bool_or(f.consecutive_failures = 1 or f.missing is not null) over (partition by e.cue_id) as of_failures
      from json_to_recordset(:failures::json) as f(
           ord int, id uuid, attempts int, http_status int, error text, alert text, missing text, unmet bool,
           seen text, consecutive_failures int, good bool, report bool)
      join executions e on e.id = f.id
      join cues c on c.id = e.cue_id and c.deleted_at is null
), tracked as materialized (
    -- One after another: what opens an incident, and what counts towards its end. A cue without any failure here was
    -- looked after by apply_transitions.sql.
    select f.*,
           case when consecutive_failures = 1
                then note_failure(user_id, cue_id, id, failures, coalesce(reason, 'a failure was reported'),
                                  by_mail => not (on_failure_email and lost))
                when missing is not null
                then open_incident(user_id, 'unverified', cue_id, name,
                                   format(case when unmet then '%s: the outcome does not meet an assertion: %s'
                                               else '%s: the outcome was reported without %s' end, name, missing),
                                   'warning',
                                   cue_id, id)
                when recover_incidents(cue_id, case when was_good then '{}'::uuid[] else array[id] end,
                                       case when report then array[id] else '{}'::uuid[] end) > 0
                then null end as incident
      from (select f.*, f.alert is not null as lost,
                   case when f.run = 0 then f.before else 0 end
                       + count(*) filter (where f.consecutive_failures = 1)
                           over (partition by f.cue_id, f.run order by f.ord) as failures
              from failures f
             where f.of_failures
             order by f.user_id, f.cue_id, f.ord
            offset 0) f
     where consecutive_failures = 1 or missing is not null or good
), failure_runs as (
    -- The rows of failures that a batch goes on with (0) or begins (1, 2, …): each success report ends one.
    select cue_id, run, count(*) filter (where consecutive_failures = 1) as failures,
           (array_agg(incident order by ord desc) filter (where consecutive_failures = 1))[1] as incident
      from tracked
     where consecutive_failures is not null
     group by cue_id, run
), updated as (
    update cues c
       set consecutive_failures = r.failures + case when r.run = 0 then c.consecutive_failures else 0 end
      from (select distinct on (cue_id) cue_id, run, failures from failure_runs order by cue_id, run desc) r
     where c.id = r.cue_id
), raised as (
    select user_id, alert as alert_type, case when alert = 'missed_run' then cue_id else id::text end as subject,
           cue_id, id as execution_id,
           format('%s: %s', name, coalesce(reason, 'a failure was reported')) as message,
           json_build_object('status', status, 'attempts', attempts, 'http_status', http_status) as metadata,
           incident
      from tracked
     where alert is not null
     union all
    select user_id, 'verification_failed', id::text, cue_id, id,
           format(case when unmet then 'The outcome of execution %s does not meet an assertion: %s.'
                       else 'The outcome of execution %s was reported without %s.' end, id, missing),
           json_build_object('missing', missing, 'outcome_state', outcome_state, 'transport', transport),
           incident
      from tracked
     where missing is not null
     union all
    -- Of the cue as it was before: the number of failures has passed a multiple of what its user asks for.
    select c.user_id, 'consecutive_failures', c.id, c.id, null,
           format('%s: %s failures in a row', c.name, n.before + r.failures),
           json_build_object('consecutive_failures', n.before + r.failures),
           r.incident
      from failure_runs r
      join cues c on c.id = r.cue_id
      join lateral (select case when r.run = 0 then c.consecutive_failures else 0 end as before,
                           coalesce(c.alert_consecutive_failures, 3) as every) n on true
     where (n.before + r.failures) / n.every > n.before / n.every
), told as (
    select c.user_id, f.ord, c.on_failure_webhook as hook, c.on_failure_email as mail, f.incident,
           jsonb_build_object('event', 'cue.failed', 'cue_id', f.cue_id, 'cue_name', f.name, 'execution_id', f.id,
                              'attempts', f.attempts, 'last_http_status', f.http_status, 'last_error', f.reason,
                              'failed_at', iso(now())) as failure
      from tracked f
      join cues c on c.id = f.cue_id
     where f.alert is not null
       and (c.on_failure_webhook is not null or c.on_failure_email)
)
select array(select alert_type
               from (select alert_type,
                            raise_alert(user_id, alert_type, subject, cue_id, execution_id, message, metadata,
                                        of_incident => incident) as id
                       from (select * from raised order by user_id, alert_type, subject) r) a
              where id is not null) as alerts,
       (select count(tell_of_failure(user_id, hook, mail, failure, incident))
          from (select * from told order by user_id, ord offset 0) t) as notices,
       (select count(*) from tracked) as tracked
