-- A row that was written later than now shows that PostgreSQL's clock was ahead, and has been set back since. What it waits
-- for is put right as if it were written now: pauses, leases and deadlines keep their lengths, moments of the past are now.
-- Each part is found by an index. The times of cues are computed by the caller, which is told whether there are any.
--
-- Guarantees: nothing is begun that has been begun already. A scheduled time is no earlier than it was, nor a `send_at`;
-- rows that another statement is writing are skipped, and found in the next round.
with ahead as materialized (
    select id, updated_at - now() as lead
      from executions
     where (finished_at is null
            or outcome_deadline_at is not null and (outcome_attempt is null or outcome_attempt < attempts))
       and updated_at > now() + interval '1 second'
     order by updated_at
     limit 1000
       for no key update skip locked
), moved as (
    update executions e
       -- What was to be ready long before it was written had its time from elsewhere.
       set ready_at = case when e.ready_at < e.updated_at - interval '5 seconds' then e.ready_at
                           when e.status = 'retrying' then e.ready_at - a.lead
                           when e.status <> 'pending' or e.ready_at > e.updated_at then e.ready_at
                           when e.triggered_by = 'scheduled'
                           then least(e.ready_at, greatest(e.scheduled_for, e.ready_at - a.lead))
                           else e.ready_at - a.lead end,
           lease_until = case when e.lease_until > e.updated_at then e.lease_until - a.lead else e.lease_until end,
           outcome_deadline_at = case when greatest(e.claimed_at, e.delivered_at, e.last_attempt_at) > now()
                                      then e.outcome_deadline_at - a.lead else e.outcome_deadline_at end,
           claimed_at = case when e.claimed_at > now() then now() else e.claimed_at end,
           started_at = case when e.started_at > now() then now() else e.started_at end,
           last_attempt_at = case when e.last_attempt_at > now() then now() else e.last_attempt_at end,
           delivered_at = case when e.delivered_at > now() then now() else e.delivered_at end,
           created_at = least(e.created_at, now()),
           updated_at = clock_timestamp()
      from ahead a
     where e.id = a.id
 returning e.id, e.ready_at, a.lead
), queued as (
    update outbox o
       set ready_at = m.ready_at, lease_until = o.lease_until - m.lead
      from moved m
     where o.execution_id = m.id
), seen as (
    update workers
       set last_heartbeat = case when last_heartbeat > now() then now() else last_heartbeat end,
           offline_alerted_at = case when offline_alerted_at > now() then now() else offline_alerted_at end
     where last_heartbeat > now() + interval '1 second'
        or offline_alerted_at > now() + interval '1 second'
 returning 1
), alerted as (
    update alert_gates set raised_at = now() where raised_at > now() + interval '1 second' returning 1
), mailed as (
    update mail_gates
       set moments = array(select least(m, now()) from unnest(moments) m)
     where moments[cardinality(moments)] > now() + interval '1 second'
 returning 1
), notified as (
    update notifications
       set ready_at = ready_at - (timed_at - now()), timed_at = now()
     where claim is null
       and not held
       and ready_at > now() + interval '1 second'
       and timed_at > now() + interval '1 second'
 returning 1
), admitted as (
    update channel_gates
       set moments = array(select least(m, now()) from unnest(moments) m)
     where moments[cardinality(moments)] > now() + interval '1 second'
 returning 1
), digested as (
    -- The next one is due in 5 minutes at most.
    update channels set digest_at = now() where digest_at > now() + interval '6 minutes' returning 1
)
select (select count(*) from moved) as executions,
       (select count(*) from seen) + (select count(*) from alerted) + (select count(*) from mailed)
           + (select count(*) from notified) + (select count(*) from admitted) + (select count(*) from digested)
           as others,
       exists (select from cues where greatest(last_run, planned_at) > now() + interval '1 second') as cues
