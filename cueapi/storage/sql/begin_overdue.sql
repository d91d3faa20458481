-- What has waited for its target for as long as it may: each begins the attempt that fails, in this transaction, by the
-- transition that follows. The first attempt of an execution counts for the month, as where it is claimed.
--
-- :executions   those that were found to have waited so long; others may have begun or freed them meanwhile
--
-- They are locked before their targets are looked up, and `+ interval '0'` keeps the planner to their keys: otherwise
-- each batch reads all that waits for a target, or all that has waited for too long.
with locked as materialized (
    select execution_id, user_id, host
      from outbox
     where execution_id = any (:executions::uuid[])
       and claimed_by is null
       and waits_until + interval '0' <= now()
     order by execution_id
       for update skip locked
), late as materialized (
    select o.execution_id, t.host, t.since, t.reason
      from locked o
      join targets t on t.user_id = o.user_id and t.host = o.host and t.state <> 'closed'
), begun as (
    update executions e
       set status = 'delivering', attempts = e.attempts + 1, claim = gen_random_uuid(),
           started_at = coalesce(e.started_at, now()), last_attempt_at = now(), updated_at = clock_timestamp()
      from late l
     where e.id = l.execution_id
 returning e.id, e.user_id, e.cue_id, e.claim, e.attempts, e.started_at = now() as first
), freed as (
    update outbox o set waits_until = null from begun b where o.execution_id = b.id
), orphans as (
    delete from outbox o
     using late l
     where o.execution_id = l.execution_id
       and not exists (select from executions e where e.id = l.execution_id)
), counted as (
-- include: count_begun
)
select b.id, b.claim, b.attempts, coalesce(c.max_attempts, 1)::int as max_attempts,
       coalesce(c.backoff_minutes, '{0}')::int[] as backoff_minutes, l.host, l.since, l.reason
  from begun b
  join late l on l.execution_id = b.id
  left join cues c on c.id = b.cue_id
