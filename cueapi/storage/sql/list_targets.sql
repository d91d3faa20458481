-- The hosts that an account's cues call, and those that could not serve what it sends, by name, behind :after.
--
-- Each host is found by a look at two indexes, so that a page costs as much as it shows, however many cues there are.
-- `waiting` and `cues` are counted up to 10,000. What is down was noted so: then only such hosts are looked at.
--
-- :after, :state   null: from the first on, in any state
-- :size            rows at most
with recursive hosts as (
    select coalesce(:after, '')::text as host
     union all
    select least((select callback_host from cues
                   where user_id = :user and transport = 'webhook' and deleted_at is null
                     and callback_host is not null and callback_host > h.host
                     and coalesce(:state, 'closed') = 'closed'
                   order by callback_host limit 1),
                 (select host from targets
                   where user_id = :user and host > h.host and coalesce(:state, 'closed') = 'closed'
                   order by host limit 1),
                 (select host from targets
                   where user_id = :user and host > h.host and state <> 'closed' order by host limit 1))::text
      from hosts h
     where h.host is not null
), listed as (
    select h.host, coalesce(t.state, 'closed')::text as state, t.since, t.reason, t.attempts,
           round(t.failures::numeric / nullif(t.attempts, 0), 3)::float8 as failure_rate, t.opens,
           case when t.state <> 'closed' then t.next_probe_at end as next_probe_at
      from hosts h
      left join targets t on t.user_id = :user and t.host = h.host
     where h.host > coalesce(:after, '')
       and (:state::text is null or coalesce(t.state, 'closed') = :state)
     limit :size
)
select l.*, now() as now,
       (select count(*) from (select from outbox o
                               where o.user_id = :user and o.host = l.host
                                 and o.claimed_by is null and o.waits_until is not null limit 10000) w) as waiting,
       (select o.ready_at from outbox o
         where o.user_id = :user and o.host = l.host and o.claimed_by is null and o.waits_until is not null
         order by o.ready_at limit 1) as oldest_waiting_at,
       (select count(*) from (select from cues c
                               where c.user_id = :user and c.callback_host = l.host and c.transport = 'webhook'
                                 and c.deleted_at is null limit 10000) n) as cues
  from listed l
 order by l.host
