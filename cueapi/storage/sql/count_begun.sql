-- What has begun its first attempt counts for the month of its user.
    insert into usage (user_id, month, executions)
    select user_id, date_trunc('month', now() at time zone 'utc')::date, count(*)
      from begun
     where first
     group by user_id
     order by user_id
        on conflict (user_id, month) do update set executions = usage.executions + excluded.executions
