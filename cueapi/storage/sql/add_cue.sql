-- The user's row is locked first: of any number of creations at once no more succeed than there is room for. No row: no
-- room. :room is the most active and paused cues.
with room as (
    select id from users where id = :user and revoked_at is null and live_cues < :room for no key update
)
insert into cues as c (id, user_id, status, transport, next_run,
       name, description, schedule_type, cron, schedule_at, timezone, catchup, overlap, callback_url, callback_method,
       callback_headers, callback_host, payload, task, max_attempts, backoff_minutes, on_failure_email,
       on_failure_webhook, on_failure_pause, verification, timeout_seconds, outcome_deadline_seconds,
       alert_consecutive_failures, alert_missed_window_multiplier, warning)
select :cue_id, room.id, 'active', :transport, :next_run,
       :name, :description, :schedule_type, :cron, :schedule_at, :timezone, :catchup, :overlap, :callback_url,
       :callback_method, :callback_headers, :callback_host, :payload, :task, :max_attempts, :backoff_minutes,
       :on_failure_email, :on_failure_webhook, :on_failure_pause, :verification, :timeout_seconds,
       :outcome_deadline_seconds, :alert_consecutive_failures, :alert_missed_window_multiplier, :warning
  from room
returning
-- include: cue_columns
