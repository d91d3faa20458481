-- Guarantees: a notification is held by one daemon at a time (skip locked). One whose daemon is gone is claimed again as
-- the same attempt; so is one of ours whose lease ran out and that is not under way. Secrets are read here, and are in no
-- row of ours.
--
-- :under_way   the claims that this daemon works on
-- :users, :user_counts, :per_user   users with notifications under way, how many each, and the most for one
with busy as (select * from unnest(:users::bigint[], :user_counts::int[]) as b(user_id, busy)),
ready as materialized (
    select n.id, coalesce(n.user_id, 0) as user_id, n.ready_at, n.claim is not null as lost
      from notifications n
     where n.ready_at <= now()
       and not n.held
       and (n.claim is null
            or n.claimed_by = :daemon and n.lease_until < now() and n.claim <> all (:under_way::uuid[])
            or not exists (select from living_daemons d where d.number = n.claimed_by))
       and coalesce(n.user_id, 0) <> all (select user_id from busy where busy >= :per_user)
       -- A channel hears of an incident in the order of what happened to it.
       and not exists (select from notifications p
                        where p.channel_id = n.channel_id and p.incident_id = n.incident_id and p.id < n.id)
     order by n.ready_at, n.id
     limit greatest(:places * 4, 64)
       for update of n skip locked
), ranked as (
    select r.id, r.ready_at, r.lost,
           row_number() over (partition by r.user_id order by r.ready_at, r.id) + coalesce(b.busy, 0) as place
      from ready r
      left join busy b on b.user_id = r.user_id
), picked as materialized (
    select id, lost from ranked where place <= :per_user order by ready_at, id limit :places
), taken as (
    update notifications n
       set claim = gen_random_uuid(), claimed_by = :daemon, lease_until = now() + :lease::float8 * interval '1 second',
           attempts = n.attempts + case when p.lost then 0 else 1 end
      from picked p
     where n.id = p.id
 returning n.id, n.kind, n.user_id, n.url, n.content, n.claim, n.attempts, n.channel_id, n.incident_id, n.created_at
)
select t.id, t.kind, coalesce(t.user_id, 0) as user_id, t.url, t.content, t.claim, t.attempts, u.email,
       case t.kind when 'alert_webhook' then u.alert_webhook_secret when 'failure_webhook' then u.webhook_secret end
           as secret,
       t.incident_id, t.created_at < now() - interval '1 hour' as is_old,
       c.id as channel_id, c.kind as channel_kind, c.topic, c.address, c.config,
       c.disabled_at is null and c.confirmed_at is not null as is_enabled, c.failing_since is not null as is_failing
  from taken t
  left join users u on u.id = t.user_id
  left join channels c on c.id = t.channel_id
