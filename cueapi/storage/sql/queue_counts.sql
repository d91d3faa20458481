-- Of each kind 10,000 at most are counted, by an index. What a hold stops is no backlog: it is not ready, as what waits for
-- its target is not.
with held_users as materialized (select user_id, mode, until from holds where ended_at is null),
stopped_users as materialized (
    select user_id from held_users where mode = 'everything' and (until is null or until > now())
)
select (select count(*) from (select 1 from outbox where claimed_by is null and waits_until is null limit 10000) o)
           + waiting_for_target as pending_outbox,
       waiting_for_target, open_targets, half_open_targets, closed_targets,
       (select count(*) from (select 1 from outbox
                               where claimed_by is null and waits_until is null and ready_at <= now()
                                 and
-- include: unheld
                               limit 10000) o) as ready_deliveries,
       (select count(*) from (select 1 from outbox where claimed_by is not null and lease_until < now() limit 10000) o)
           as stale_executions,
       (select count(*) from (select 1 from outbox
                               where claimed_by is null and waits_until is null and ready_at > now()
                               limit 10000) o) as pending_retries,
       (select count(*) from (select 1 from executions
                               where transport = 'worker' and status in ('pending', 'retrying') and claim is null
                                 and ready_at <= now()
                                 and
-- include: unheld
                               limit 10000) e) as pending_worker_claims,
       -- Not by `min`: PostgreSQL finds the least value of a domain by no index.
       coalesce((select greatest(extract(epoch from now() - ready_at), 0)
                   from outbox
                  where claimed_by is null and waits_until is null and ready_at <= now()
                    and
-- include: unheld
                  order by ready_at limit 1), 0)::float8 as oldest_delivery,
       coalesce((select greatest(extract(epoch from now() - ready_at), 0)
                   from executions
                  where transport = 'worker' and status in ('pending', 'retrying') and ready_at <= now()
                    and
-- include: unheld
                  order by ready_at limit 1), 0)::float8 as oldest_work,
       (select count(*) from workers where last_heartbeat > now() - interval '180 seconds') as active_workers,
       (select count(*) from (select 1 from incidents where resolved_at is null limit 10000) i) as open_incidents
  from (select (select count(*) from (select 1 from outbox
                                       where claimed_by is null and waits_until is not null
                                       limit 10000) o) as waiting_for_target) w,
       (select count(*) filter (where state = 'open') as open_targets,
               count(*) filter (where state = 'half_open') as half_open_targets,
               count(*) filter (where state = 'closed') as closed_targets
          from targets) t
