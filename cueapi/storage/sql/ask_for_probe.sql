-- :pause   seconds between two
-- :act     who asks
--
-- A moment of a clock that has been set back keeps no one from asking.
with awaited as materialized (
    select t.state, coalesce(extract(epoch from t.asked_at - now()) + :pause::float8, 0) as pause
      from targets t
     where t.user_id = :user
       and t.host = :host
       and t.state <> 'closed'
       and exists (select from outbox o
                    where o.user_id = :user and o.host = :host and o.claimed_by is null and o.waits_until is not null)
), asked as (
    update targets t
       set asked_at = now(), next_probe_at = case when t.state = 'open' then now() else t.next_probe_at end
     where t.user_id = :user
       and t.host = :host
       and t.state <> 'closed'
       and exists (select from awaited)
       and (t.asked_at is null or t.asked_at not between now() - :pause::float8 * interval '1 second' and now())
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
