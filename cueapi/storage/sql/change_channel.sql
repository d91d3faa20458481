-- Upon a row that the transaction has locked. A channel that is enabled again, or :leads elsewhere now, has no failures
-- behind it; of one that is enabled the incident is over.
with changed as (
    update channels
       set name = :name, shown = :shown, topic = :topic, has_token = :has_token, config = :config, address = :address,
           confirm_hash = case when :asks then :confirm_hash::bytea else confirm_hash end,
           confirm_until = case when :asks and :confirm_hash::bytea is not null then now() + interval '1 day'
                                when :asks then null else confirm_until end,
           confirmed_at = case when not :asks then confirmed_at when :confirm_hash::bytea is null then now() end,
           events = :events::text[], min_severity = :min_severity, groups = :groups::text[], kinds = :kinds::text[],
           disabled_at = case when :enabled then null else coalesce(disabled_at, now()) end,
           failing_since = case when not (:leads or :enabled and disabled_at is not null) then failing_since end,
           last_error = case when not (:leads or :enabled and disabled_at is not null) then last_error end,
           updated_at = clock_timestamp()
     where id = :channel and user_id = :user
 returning *
), audited as (
    select write_audit(user_id, :act::json, 'channel.updated', 'channel', id::text, name, :changes::json) as id
      from changed
), ended as (
    select resolve_incident(user_id, 'channel_failing', id::text) as id from changed where disabled_at is null
)
select
-- include: columns
  from changed c, (select count(*) from audited) a, (select count(*) from ended) e
