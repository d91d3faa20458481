-- Ends the incidents of workers that are heard again, were removed, or whose work another does; and writes the reminders
-- that are due.
with back as (
    select i.user_id, i.subject,
           case when w.worker_id is null then 'the worker was removed'
                when w.last_heartbeat > now() - interval '5 minutes' then null
                else 'another worker does its work' end as why
      from incidents i
      left join workers w on w.user_id = i.user_id and w.worker_id = i.subject
     where i.kind = 'worker_offline'
       and i.resolved_at is null
       and (w.worker_id is null
            or w.last_heartbeat > now() - interval '5 minutes'
            or exists (select from workers l
                        where l.user_id = i.user_id
                          and l.last_heartbeat > now() - interval '180 seconds'
                          and (l.handlers = '{}' or w.handlers <> '{}' and w.handlers <@ l.handlers)))
), ended as materialized (
    select user_id, resolve_incident(user_id, 'worker_offline', subject, why) as id
      from (select * from back order by user_id, subject offset 0) b
)
select array_agg(distinct user_id) as users
  from (select user_id from ended union all select user_id from remind_of_incidents() as r(user_id)) t
