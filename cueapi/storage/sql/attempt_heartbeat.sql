-- The heartbeat of the handler of one attempt; no row where the execution is not there any more.
--
-- Guarantees: only what waits for the outcome of that very attempt moves, forward only, and no further than its cue
-- allows an attempt to run. It is written where that gains 10 seconds or a third of what is asked for, or where progress
-- is told; a heartbeat between two such writes reads one row.
--
-- :attempt             the attempt that the token was written for
-- :progress, :message  null: as they stand
-- :lease, :deadline    seconds of a worker's claim, and until an outcome must be there where the cue says nothing
with found as (
    select e.id, e.user_id, e.transport, e.status, e.attempts, e.outcome_attempt, e.outcome_deadline_at, e.lease_until,
           e.forced,
           c.deleted_at is not null as is_gone,
           e.finished_at is not null
               and greatest(e.finished_at, e.outcome_deadline_at) < now() - interval '7 days' as is_over,
           is_withdrawn(e.user_id, e.id, :attempt, e.last_attempt_at) as is_withdrawn,
           e.attempts = :attempt
               and (e.status = 'delivering'
                    or e.status = 'success' and (e.outcome_attempt is null or e.outcome_attempt < e.attempts))
               as is_awaited,
           -- Another attempt has done the work.
           e.status = 'success' and e.outcome_success
               and (e.attempts > :attempt
                    or exists (select from attempts a
                                where a.execution_id = e.id and a.attempt = :attempt and a.outcome = 'called_off'))
               as is_called_off,
           interval '1 second' * coalesce(c.outcome_deadline_seconds,
                                          case when e.transport = 'worker' then :deadline::float8 end) as patience,
           interval '1 second' * :lease::float8 as lease,
           e.last_attempt_at + interval '1 second' * coalesce(c.max_runtime_seconds, 604800) as longest,
           :progress::float8 is not null
               and (e.progress, e.progress_attempt) is distinct from (:progress::float8, e.attempts)
               or :message::text is not null
               and (e.progress_message, e.progress_attempt) is distinct from (:message::text, e.attempts) as tells
      from executions e
      join cues c on c.id = e.cue_id
     where e.id = :execution
), aimed as (
    select f.*,
           -- `least` passes over nulls: without a deadline of its own there is nothing to move.
           patience is not null
               and least(now() + patience, longest) - outcome_deadline_at >= least(interval '10 seconds', patience / 3)
               as moves_deadline,
           transport = 'worker'
               and least(now() + lease, longest) - lease_until >= least(interval '10 seconds', lease / 3) as moves_lease
      from found f
), moved as (
    update executions e
       set outcome_deadline_at = case when a.moves_deadline
                                      then greatest(e.outcome_deadline_at, least(now() + a.patience, a.longest))
                                      else e.outcome_deadline_at end,
           lease_until = case when a.moves_lease then greatest(e.lease_until, least(now() + a.lease, a.longest))
                              else e.lease_until end,
           progress = coalesce(:progress, case when e.progress_attempt = e.attempts then e.progress end),
           progress_message = coalesce(:message, case when e.progress_attempt = e.attempts then e.progress_message end),
           progress_attempt = e.attempts,
           updated_at = clock_timestamp()
      from aimed a
     where e.id = a.id
       and a.is_awaited
       and not a.is_withdrawn
       and not a.is_gone
       and (a.moves_deadline or a.moves_lease or a.tells)
       -- As it was found.
       and e.attempts = a.attempts
       and e.status || '' = a.status
       and e.outcome_attempt is not distinct from a.outcome_attempt
 returning e.id, e.outcome_deadline_at, e.lease_until
)
select a.user_id, a.is_over, a.is_withdrawn,
       -- What was asked for in spite of a hold is wanted under it.
       a.is_gone or a.is_called_off or not a.forced and is_held(a.user_id, 'everything') as is_cancelled,
       m.id is not null as is_written,
       case when a.is_awaited then coalesce(m.outcome_deadline_at, a.outcome_deadline_at) end as outcome_deadline_at,
       case when a.is_awaited and a.status = 'delivering'
            then coalesce(m.lease_until, a.lease_until) end as lease_until
  from aimed a
  left join moved m on m.id = a.id
