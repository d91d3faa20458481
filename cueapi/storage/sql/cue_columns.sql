c.id, c.name, c.description, c.status, c.transport, c.schedule_type, c.cron, c.schedule_at, c.timezone, c.catchup,
c.overlap, c.callback_url, c.callback_method, c.callback_headers, c.payload, c.max_attempts, c.backoff_minutes,
c.on_failure_email, c.on_failure_webhook, c.on_failure_pause, c.verification, c.timeout_seconds,
c.outcome_deadline_seconds, c.alert_consecutive_failures, c.alert_missed_window_multiplier, c.next_run, c.last_run,
c.run_count, c.fired_count, c.revision, c.created_at, c.updated_at,
case when c.transport = 'worker'
          and not exists (select from workers w
                           where w.user_id = c.user_id and w.last_heartbeat > now() - interval '180 seconds')
     then 'No worker is alive: executions wait until one sends a heartbeat and claims them.'
     else c.warning end as warning
