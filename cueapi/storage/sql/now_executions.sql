-- What runs now, the longest first, and the newest fifty.
(select 'running' as kind,
        -- A delivery's claim outlasts its attempt by a minute.
        case when e.transport = 'worker' then e.outcome_deadline_at else o.lease_until - interval '1 minute' end
            as deadline,
-- include: line
   from (select * from executions
          where user_id = :user and status = 'delivering'
          order by created_at desc, id desc
          limit 20) e
-- include: joined
   left join outbox o on o.execution_id = e.id
  order by e.last_attempt_at, e.id)
 union all
(select 'newest', null,
-- include: line
   from executions e
-- include: joined
  where e.user_id = :user
  order by e.created_at desc, e.id desc
  limit 50)
