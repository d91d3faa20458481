-- The oldest first; begins an attempt, as the claim of a delivery does. What a hold stops is left.
--
-- :handlers           null: those of the worker's last heartbeat
-- :task               null: any
-- :lease, :deadline   seconds of the claim, and until an outcome must be there where the cue says nothing
with wanted as (
    select coalesce(:handlers::text[],
                    (select handlers from workers where user_id = :user and worker_id = :worker),
                    '{}') as handlers
), hold as materialized (
    select mode = 'everything' and (until is null or until > now()) as stops
      from holds
     where user_id = :user and ended_at is null
), picked as materialized (
    select e.id
      from executions e
      join cues c on c.id = e.cue_id and c.deleted_at is null
     where e.user_id = :user
       and e.transport = 'worker'
       and e.status in ('pending', 'retrying')
       and e.ready_at <= now()
       and (:task::text is null or e.task = :task)
       and (e.forced or not exists (select from hold where stops or e.deferred))
-- include: in_groups
       and ((select handlers = '{}' from wanted)
            or e.task = any ((select handlers from wanted)::text[])
            or c.name = any ((select handlers from wanted)::text[]))
     order by e.ready_at, e.id
     limit :most
       for no key update of e skip locked
), begun as (
    update executions e
       set status = 'delivering', attempts = e.attempts + 1, claim = gen_random_uuid(),
           claimed_by_worker = :worker, claimed_at = now(),
           lease_until = now() + :lease::float8 * interval '1 second',
           outcome_deadline_at = now() + interval '1 second' * coalesce(c.outcome_deadline_seconds, :deadline::float8),
           started_at = coalesce(e.started_at, now()), last_attempt_at = now(), deferred = false,
           updated_at = clock_timestamp()
      from picked p, cues c
     where e.id = p.id
       and c.id = e.cue_id
 returning e.id, e.cue_id, c.name as cue_name, e.task, e.scheduled_for, e.ready_at, e.payload,
           e.attempts, e.claim, e.outcome_attempt, c.max_attempts, c.backoff_minutes, c.verification,
           c.assertions, c.verification_on_failed,
           c.revision as cue_revision, e.started_at = now() as first
), counted as (
    insert into usage (user_id, month, executions)
    select :user, date_trunc('month', now() at time zone 'utc')::date, count(*)
      from begun
     where first
    having count(*) > 0
        on conflict (user_id, month) do update set executions = usage.executions + excluded.executions
)
select id, cue_id, cue_name, task, scheduled_for, payload, attempts, claim, ready_at, outcome_attempt, max_attempts,
       backoff_minutes, verification, assertions, verification_on_failed, cue_revision
  from begun
 order by ready_at, id
