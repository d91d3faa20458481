-- Work waits that no live worker does, and one that would has been silent for 5 minutes: an alert an hour and worker. Of a
-- long queue the oldest are looked at.
with silent as (
    select user_id, worker_id, handlers, last_heartbeat
      from workers
     where last_heartbeat < now() - interval '5 minutes'
       and (offline_alerted_at is null or offline_alerted_at < now() - interval '1 hour')
), kinds as (
    -- Many have one name each and the same handlers.
    select distinct user_id, handlers from silent
), wanted as (
    select s.user_id, s.handlers
      from kinds s
     where exists (
           select from (select e.user_id, e.task, e.cue_id
                          from executions e
                         where e.user_id = s.user_id
                           and e.transport = 'worker'
                           and e.status in ('pending', 'retrying')
                           and e.ready_at <= now()
                         order by e.ready_at, e.id
                         limit 1000) e
             join cues c on c.id = e.cue_id and c.deleted_at is null
            where (s.handlers = '{}' or e.task = any (s.handlers) or c.name = any (s.handlers))
              and not exists (
                  select from workers l
                   where l.user_id = e.user_id
                     and l.last_heartbeat > now() - interval '180 seconds'
                     and (l.handlers = '{}' or e.task = any (l.handlers) or c.name = any (l.handlers))))
), marked as (
    update workers w
       set offline_alerted_at = now()
      from silent s
      join wanted using (user_id, handlers)
     where w.user_id = s.user_id
       and w.worker_id = s.worker_id
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
