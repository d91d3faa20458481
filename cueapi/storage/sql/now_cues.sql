-- What is wrong with a user's cues, and what comes next: failing ones, late ones, the next ten. There is always a row,
-- which tells how many cues live, how many of them fail, how many incidents are open (101: more than 100), and how late
-- the newest executions have begun. The rollup has sums and maxima only: a histogram would cost each batch of ends 50
-- microseconds.
--
-- A cue fails whose last execution failed. It is late where work of it that is due for a minute was not begun.
with open_incidents as materialized (
    select kind
      from incidents
     where user_id = :user and resolved_at is null and (snoozed_until is null or snoozed_until <= now())
     order by opened_at desc, id desc
     limit 101
), begun as materialized (
    select lag_of(started_at, scheduled_for) as lag
      from (select started_at, scheduled_for, triggered_by, created_at
              from executions
             where user_id = :user
             order by created_at desc, id desc
             limit 500) newest
     where triggered_by <> 'backfill'
       and started_at is not null
       and created_at > now() - interval '1 day'
), failing as materialized (
    (select id, last_run, updated_at
       from cues c
      where id = any (array(select subject
                              from incidents
                             where user_id = :user and kind = 'failing' and resolved_at is null
                             order by subject
                             limit 101)
                   || array(select id
                              from cues
                             where user_id = :user and consecutive_failures > 0 and status in ('active', 'paused')
                               and deleted_at is null
                             order by id
                             limit 101))
        and consecutive_failures > 0
        and status in ('active', 'paused')
        and deleted_at is null
            -- An outcome that is not known leaves the failures in a row, and is none.
        and not exists (
            select
              from (select *
                      from (select * from executions where cue_id = c.id order by created_at desc, id desc limit 60) newest
                     where finished_at is not null
                     limit 1) last
             where status = 'success'
               and not coalesce(outcome_attempt = attempts and outcome_state in ('reported_failure',
                                'verification_failed', 'verification_pending'), false)
               and not coalesce(outcome_deadline_at > now()
                                and (outcome_attempt is null or outcome_attempt < attempts), false)))
     union all
    -- One-time cues that failed today, and what was set aside.
    (select id, last_run, updated_at
       from (select id, last_run, updated_at
               from cues
              where user_id = :user and status = 'failed' and deleted_at is null
              order by created_at desc, id desc
              limit 50) ended
      where updated_at > now() - interval '1 day')
), waiting as (
    (select cue_id, ready_at
       from executions
      where user_id = :user and transport = 'worker' and status in ('pending', 'retrying')
        and ready_at < now() - interval '1 minute'
      order by ready_at, id
      limit 200)
     union all
    (select cue_id, ready_at
       from (select cue_id, ready_at, transport
               from executions
              where user_id = :user and status = 'pending'
              order by created_at desc, id desc
              limit 200) pending
      where transport = 'webhook' and ready_at < now() - interval '1 minute')
), listed as (
    (select 'failing' as kind, id, null::timestamptz as since, 0::bigint as waiting
       from failing order by coalesce(last_run, updated_at) desc, id limit 20)
     union all
    (select 'late', cue_id, min(ready_at), count(*) from waiting group by cue_id order by min(ready_at), cue_id limit 20)
     union all
    (select 'next', id, next_run, 0
       from cues
      where user_id = :user and next_run is not null and status = 'active' and deleted_at is null
      order by next_run, id
      limit 10)
)
select now() as now, u.live_cues, (select count(*) from failing) as failing,
       (select id from cues where user_id = :user and deleted_at is null order by created_at desc, id desc limit 1)
           is not null as has_cues,
       (select count(*) from open_incidents) as incidents,
       (select opened_at::timestamptz
          from incidents
         where user_id = :user and resolved_at is null and (snoozed_until is null or snoozed_until <= now())
         order by opened_at, id
         limit 1) as open_since,
       (select count(*) from open_incidents where kind = 'failing') as failing_incidents,
       (select count(*) from begun) as begun,
       (select percentile_disc(0.95) within group (order by lag) from begun) as lag_p95,
       l.kind, c.id, c.name, c.status, c.transport, c.cron, c.timezone, c.callback_host, c.warning,
       coalesce(l.since, f.since) as since, l.waiting, c.consecutive_failures,
       e.id as execution_id, e.http_status, e.attempts, e.told
  from users u
  left join listed l on true
  left join cues c on c.id = l.id and c.deleted_at is null
  left join lateral (
       select e.id, e.http_status, e.attempts,
              left(coalesce(case when e.outcome_attempt = e.attempts then e.outcome_error end, e.error_message), 200)
                  as told
         from executions e
        where l.kind = 'failing' and e.cue_id = c.id and e.finished_at is not null
        order by e.created_at desc, e.id desc
        limit 1) e on true
  left join lateral (
       -- When the first of these failures in a row came; of very many, of the last fifty.
       select min(finished_at) as since
         from (select finished_at
                 from (select n.*
                         from executions n
                        where l.kind = 'failing' and n.cue_id = c.id
                        order by n.created_at desc, n.id desc
                        limit 60) n
                where status in ('failed', 'outcome_timeout') or status = 'missed' and transport = 'worker'
                   or unsuccessful(status, attempts, outcome_attempt, outcome_state) = 1
                limit greatest(least(c.consecutive_failures, 50), 1)) failed) f on true
 where u.id = :user
   and (l.kind is null or c.id is not null)
 order by l.kind, l.since, f.since desc, c.id
