-- An execution with all that its page shows of it and its cue; of the payload the first 64 KiB.
select
-- include: execution
       , left(e.payload::text, 65536) as payload, length(e.payload::text) as payload_length, e.task, e.ready_at,
       e.finished_at, e.lease_until, e.lost_claims, e.replayed_from,
       coalesce(e.outcome_attempt = e.attempts, false) as is_reported,
       coalesce(e.outcome_deadline_at > now() and (e.outcome_attempt is null or e.outcome_attempt < e.attempts), false)
           as is_awaited,
       c.status as cue_status, c.cron, c.timezone, c.callback_url, c.callback_method, c.callback_host, c.callback_headers,
       c.max_attempts, c.backoff_minutes, c.verification, c.on_failure_email, c.on_failure_webhook, now() as now
  from executions e
  join cues c on c.id = e.cue_id and c.deleted_at is null
 where e.id = :execution
   and e.user_id = :user
