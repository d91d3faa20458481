-- Works in any status. Where the month is spent, the execution ends at once. Nothing is made while the account is held.
--
-- :payload, :task   null: the cue's own
-- :at               null: now
-- :forced           whether a hold does not count
-- :monthly          how many executions a month the user's plan has
--
-- There is always a row, without an id where nothing was made: the cue is not *known*, or the account is held.
with hold as materialized (
    select mode, reason, until
      from holds
     where user_id = :user and not :forced and ended_at is null and (until is null or until > now())
), known as materialized (
    select id from cues where id = :cue_id and user_id = :user and deleted_at is null
), spent as materialized (
    select check_month(:user, :monthly) as alerts from known where not exists (select from hold)
), fired as (
    update cues c
       set fired_count = c.fired_count + 1,
           run_count = c.run_count + (case when s.alerts is not null then 1 else 0 end),
           last_run = case when :at::timestamptz is null then now() else c.last_run end
      from spent s
     where c.id = :cue_id
       and c.user_id = :user
       and c.deleted_at is null
 returning c.id, c.user_id, c.transport, c.callback_host, c.payload, c.task, s.alerts is not null as ends
), made as (
    insert into executions (id, cue_id, user_id, transport, triggered_by, replayed_from, scheduled_for, status,
                            ready_at, payload, task, finished_at, error_message, deferred, forced)
    select :execution_id, id, user_id, transport, :triggered_by, :replayed_from, coalesce(:at, now()),
           case when ends then 'failed' else 'pending' end,
           coalesce(:at, now()), coalesce(:payload::json, payload), case when :payload is null then task else :task end,
           case when ends then now() end, case when ends then 'Monthly execution limit reached' end,
           :at::timestamptz is not null and not ends, :forced
      from fired
 returning id, cue_id, user_id, transport, scheduled_for, ready_at, status, finished_at, deferred, forced
), tallied as (
    insert into tallies (user_id, bucket, status, count)
    select user_id, five_minutes(finished_at), status, 1 from made where finished_at is not null
-- include: add_tally
), queued as (
    insert into outbox (execution_id, cue_id, user_id, host, ready_at, deferred, forced)
    select m.id, m.cue_id, m.user_id, f.callback_host, m.ready_at, m.deferred, m.forced
      from made m
      join fired f on f.id = m.cue_id
     where m.transport = 'webhook' and m.status = 'pending'
)
select m.id, m.cue_id, m.transport, m.scheduled_for, m.status,
       extract(epoch from m.ready_at - now())::float8 as due_in,
       (select alerts from spent) > 0 is true as has_alerted,
       exists (select from known) as known, h.mode as hold_mode, h.reason as hold_reason, h.until as hold_until
  from (select) one
  left join made m on true
  left join hold h on true
