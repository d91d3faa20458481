-- The month's limit of executions, and the day of grace at it.

-- Whether *whose* has come to the end of it: the limit is reached, and the 24 hours of grace, which begin with the first
-- call that finds it reached, are over. An alert a day says so.
create function month_is_spent(whose bigint, plan_limit bigint) returns boolean language plpgsql as $$
declare
    this_month constant date := date_trunc('month', now() at time zone 'utc')::date;
    most bigint;
    until timestamptz;
begin
    select coalesce(u.monthly_execution_limit, plan_limit) into most
      from users u
      left join usage m on m.user_id = u.id and m.month = this_month
     where u.id = whose
       and coalesce(m.executions, 0) >= coalesce(u.monthly_execution_limit, plan_limit);
    if not found then
        return false;
    end if;
    update users set grace_month = this_month, grace_until = now() + interval '24 hours'
     where id = whose
       and grace_month is distinct from this_month;
    select grace_until into until from users where id = whose;
    if until > now() then
        return false;
    end if;
    perform raise_alert(whose, 'execution_failed', 'monthly_limit', null, null,
                        format('The month''s limit of %s executions is reached: new ones fail until it is over.', most),
                        json_build_object('monthly_execution_limit', most), interval '24 hours');
    return true;
end $$;
