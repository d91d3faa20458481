-- A message was not taken. What is gone for good, or has failed for 5 days, is disabled, and the user's other channels are
-- told. No row where it was changed since, which encrypts its :config anew, or disabled before.
with failed as (
    update channels
       set failing_since = coalesce(failing_since, now()), last_error = left(:error, 500),
           disabled_at = case when :gone or failing_since < now() - interval '5 days' then now() end
     where id = :channel and config = :config::bytea and disabled_at is null
 returning *
), told as (
    select open_incident(user_id, 'channel_failing', id::text, name,
                         format('The channel %s is disabled: %s', name, last_error), 'critical') as id,
           write_audit(user_id, system_act(), 'channel.disabled', 'channel', id::text, name,
                       json_build_array(json_build_object('path', 'last_error', 'from', null, 'to', last_error))) as audit
      from failed
     where disabled_at is not null
)
select f.user_id, f.name, f.disabled_at is not null as is_disabled
  from failed f, (select count(*) from told) t
