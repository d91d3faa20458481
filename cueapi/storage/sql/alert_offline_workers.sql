-- Work waits that no live worker does, and one that would has been silent for 5 minutes: an alert an hour and worker. Of a
-- long queue the oldest are looked at.
--
-- Each list of handlers is gone through once, and its names are looked up among the few that work waits for: `in (…) is
-- true` and `not in` are looked up in a hash table, where joins and `= any (handlers)` may compare each with each.
with accounts as (
    select distinct user_id
      from workers
     where last_heartbeat < now() - interval '5 minutes'
       and (offline_alerted_at is null or offline_alerted_at < now() - interval '1 hour')
), silent as materialized (
    select s.place
      from accounts a
     cross join lateral (
           with waiting as materialized (
               select distinct coalesce(e.task, c.name) as task, c.name
                 from (select e.task, e.cue_id
                         from executions e
                        where e.user_id = a.user_id
                          and e.transport = 'worker'
                          and e.status in ('pending', 'retrying')
                          and e.ready_at <= now()
                        order by e.ready_at, e.id
                        limit 1000) e
                 join cues c on c.id = e.cue_id and c.deleted_at is null
           ), living as materialized (
               select handlers
                 from workers
                where user_id = a.user_id
                  and last_heartbeat > now() - interval '180 seconds'
                  and exists (select from waiting)
           ), taken as materialized (
               select distinct h.name
                 from living l
                cross join unnest(l.handlers) h(name)
                where (h.name in (select task from waiting union select name from waiting)) is true
           ), left_over as materialized (
               select task, name
                 from waiting
                where not exists (select from living where handlers = '{}')
                  and task not in (select name from taken)
                  and name not in (select name from taken)
           )
           select w.ctid as place
             from workers w
            where w.user_id = a.user_id
              and w.last_heartbeat < now() - interval '5 minutes'
              and (w.offline_alerted_at is null or w.offline_alerted_at < now() - interval '1 hour')
              and exists (select from left_over)
              and (w.handlers = '{}'
                   or exists (select from unnest(w.handlers) h(name)
                               where (h.name in (select task from left_over
                                                  union select name from left_over)) is true))) s
), marked as (
    update workers w
       set offline_alerted_at = now()
     where w.ctid = any (array(select place from silent))
       -- Again: what has moved the row meanwhile may have been its heartbeat.
       and w.last_heartbeat < now() - interval '5 minutes'
       and (w.offline_alerted_at is null or w.offline_alerted_at < now() - interval '1 hour')
 returning w.user_id, w.worker_id, w.last_heartbeat
)
select count(raise_alert(user_id, 'worker_offline', worker_id, null, null,
                         format('Worker %s has been silent since %s, and work waits for it.',
                                worker_id, iso(last_heartbeat)),
                         json_build_object('worker_id', worker_id, 'last_heartbeat', iso(last_heartbeat)),
                         of_incident => open_incident(
                             user_id, 'worker_offline', worker_id, worker_id,
                             format('Worker %s is silent, and work waits for it', worker_id), 'critical'))) as alerts,
       array_agg(distinct user_id) as users
  from (select * from marked order by user_id, worker_id) m
