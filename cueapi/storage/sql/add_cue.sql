-- The user's row is locked first: of any number of creations at once no more succeed than there is room for. No row: no
-- room. :room is the most active and paused cues, :act who creates it.
with room as (
    select id from users where id = :user and revoked_at is null and live_cues < :room for no key update
), added as (
insert into cues as c (id, user_id, status, transport, next_run, next_local, callback_host,
-- include: names
)
select :cue_id, room.id, 'active', :transport, :next_run, :next_local, :callback_host,
-- include: values
  from room
returning
-- include: columns
), audited as (
    select write_audit(:user, :act::json, 'cue.created', 'cue', id, name) from added
)
select * from added where (select count(*) from audited) is not null
