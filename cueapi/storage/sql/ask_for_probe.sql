-- Guarantee: of those who ask at the same moment one is heard. The others wait for it at the row, and go by what it wrote.
--
-- :pause   seconds between two
-- :act     who asks
--
-- A moment of a clock that has been set back keeps no one from asking. The clock is read once the row is ours: the
-- transaction may have begun before the one that was heard.
with locked as materialized (
    select t.user_id, t.host, t.asked_at
      from targets t
     where t.user_id = :user
       and t.host = :host
       and t.state <> 'closed'
       and exists (select from outbox o
                    where o.user_id = :user and o.host = :host and o.claimed_by is null and o.waits_until is not null
                      -- What a hold stops is claimed for no probe.
                      and (o.forced or not (select is_held(:user, 'everything')))
                      and (o.forced or not o.deferred or not (select is_held(:user))))
       for no key update
), awaited as materialized (
    select user_id, host, coalesce(extract(epoch from asked_at - clock_timestamp()) + :pause::float8, 0) as pause
      from locked
), asked as (
    update targets t
       set asked_at = clock_timestamp(), next_probe_at = case when t.state = 'open' then now() else t.next_probe_at end
      from awaited a
     where t.user_id = a.user_id
       and t.host = a.host
       and (a.pause <= 0 or a.pause > :pause)
 returning t.user_id, t.host
), told as materialized (
    select write_audit(user_id, :act, 'target.probed', 'target', host, host) as id from asked
)
select exists (select from cues
                where user_id = :user and callback_host = :host and transport = 'webhook' and deleted_at is null)
           or exists (select from targets where user_id = :user and host = :host) as is_known,
       exists (select from awaited) as is_awaited,
       exists (select from told) as is_asked,
       least(greatest(coalesce((select pause from awaited), 0), 1), :pause)::float8 as pause
