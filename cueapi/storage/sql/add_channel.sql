-- No row where the user has twenty. :act is the act.
with added as (
    insert into channels (id, user_id, kind, name, shown, topic, has_token, config, address, confirm_hash, confirm_until,
                          confirmed_at, events, min_severity, groups, kinds)
    select :channel::uuid, :user::bigint, :kind::text, :name::text, :shown::text, :topic::text, :has_token::boolean,
           :config::bytea, :address::text, :confirm_hash::bytea,
           case when :confirm_hash::bytea is not null then now() + interval '1 day' end,
           case when :confirm_hash::bytea is null then now() end,
           :events::text[], :min_severity::text, :groups::text[], :kinds::text[]
     where has_channel_room(:user::bigint)
 returning *
), audited as (
    select write_audit(user_id, :act::json, 'channel.created', 'channel', id::text, name) as id from added
)
select
-- include: columns
  from added c, (select count(*) from audited) a
