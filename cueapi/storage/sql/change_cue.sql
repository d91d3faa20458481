-- Upon a row that the transaction has locked.
--
-- :room       the most active and paused cues, where the cue is revived and needs room; null where it needs none
-- :moves      whether :next_run and :next_local are to be set
-- :act        who changes it, and why
-- :entries    what the audit says of it: JSON records of an action and its changes
--
-- Waiting deliveries move to the new host with the cue: fairness counts by it, and what waited for the old one, which is
-- down, may go at once. No :callback_host: the old one stays. Others wait for as long as the cue now says.
with room as (
    select id
      from users
     where id = :user and revoked_at is null and (:room::int is null or live_cues < :room)
       for no key update
), before as (
    -- A budget that is cleared, or set anew, has counted nothing.
    select budget_told as told, budget_per is not null and :budget_per::text is not null as keeps_count
      from cues
     where id = :cue_id
), changed as (
    update cues c
       set status = :status,
           pause_reason = case when c.status = :status::cue_status then c.pause_reason end,
           status_changed_at = case when c.status = :status::cue_status then c.status_changed_at
                                    else clock_timestamp() end,
           status_changed_by = case when c.status = :status::cue_status then c.status_changed_by
                                    else :act::json -> 'actor' end,
           status_change_reason = case when c.status = :status::cue_status then c.status_change_reason
                                       else :act::json ->> 'reason' end,
           next_run = case when :moves then :next_run else c.next_run end,
           next_local = case when :moves then :next_local else c.next_local end,
           planned_at = case when :moves then now() else c.planned_at end,
           parked_run = case when not :moves then c.parked_run end,
           revision = c.revision + 1,
           updated_at = clock_timestamp(),
           consecutive_failures = case when :revives then 0 else c.consecutive_failures end,
           callback_host = coalesce(:callback_host, c.callback_host),
           budget_begins_at = case when b.keeps_count
                                   then budget_kept_from(c.budget_begins_at, c.budget_per, c.timezone,
                                                         :budget_per, :timezone) end,
           budget_runs = case when b.keeps_count then c.budget_runs else 0 end,
           budget_cost = case when b.keeps_count then c.budget_cost else 0 end,
           budget_told = case when b.keeps_count
                              then case when budget_kept_from(c.budget_begins_at, c.budget_per, c.timezone,
                                                              :budget_per, :timezone)
                                             < budget_begin(:budget_per, :timezone)
                                        then c.budget_told
                                        else budget_state(c.budget_runs, c.budget_cost, :budget_max_runs,
                                                          :budget_max_cost, :budget_warn_at) end
                              else 'ok' end,
-- include: assignments
      from room, before b
     where c.id = :cue_id
       and c.user_id = room.id
       and c.deleted_at is null
 returning
-- include: columns
), requeued as (
    update outbox o
       set host = coalesce(:callback_host, o.host),
           waits_until = case when o.host = coalesce(:callback_host, o.host)
                              then o.waits_until + interval '1 second'
                                 * (coalesce(:max_wait_seconds, 86400) - coalesce(b.max_wait_seconds, 86400)) end
      from changed c
      join cues b on b.id = c.id
     where o.cue_id = c.id
       and (o.host <> :callback_host
            or o.waits_until is not null
               and coalesce(:max_wait_seconds, 86400) <> coalesce(b.max_wait_seconds, 86400))
), audited as (
    select write_audit(:user, :act::json, e.action, 'cue', c.id, c.name, e.changes)
      from changed c
     cross join json_to_recordset(:entries::json) as e(action text, changes json)
), told as (
    -- As in set_budget.sql.
    select tell_of_budget(:user, 'cue:' || c.id, c.id, b.told, b.told, c.budget_state, c.budget_per, c.budget_used_runs,
                          c.budget_used_cost::numeric, c.budget_max_runs, c.budget_max_cost::numeric,
                          budget_begin(c.budget_per, c.timezone), c.budget_resets_at) as alert
      from changed c
     cross join before b
     where b.keeps_count
       and higher_state(b.told, c.budget_state) <> b.told
)
select changed.*, array(select alert from told where alert is not null) as budget_alerts
  from changed
 where (select count(*) from audited) is not null
