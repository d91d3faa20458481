-- What an execution repeats, back to the first; what repeats it; and the alerts that it has raised.
with recursive earlier as (
    select id, replayed_from, 0 as depth from executions where id = :execution and user_id = :user
     union all
    select e.id, e.replayed_from, depth + 1
      from earlier r
      join executions e on e.id = r.replayed_from and e.user_id = :user
     where depth < 20
)
(select 'earlier' as kind, e.id, e.status, e.created_at, null as told
   from earlier r
   join executions e on e.id = r.id
  where r.depth > 0
  order by r.depth desc)
 union all
(select 'replay', id, status, created_at, null
   from executions
  where replayed_from = :execution and user_id = :user
  order by created_at, id
  limit 20)
 union all
(select 'alert', id, alert_type, created_at, message
   from alerts
  where execution_id = :execution and user_id = :user
  order by created_at, id
  limit 20)
