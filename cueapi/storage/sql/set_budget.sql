-- Sets the budget of a group or of the account. One that is there goes on counting: what was used of the period stays
-- used. With other limits more is told of at once where more of them is used than was told; where less is, what is
-- reached again is told of again.
with before as materialized (
    select per, max_runs, max_cost, on_limit, warn_at, told
      from budgets
     where user_id = :user and scope = :scope
       for no key update
), b as (
    insert into budgets as b (user_id, scope, per, max_runs, max_cost, on_limit, warn_at, begins_at)
    -- Behind `before`, which locks.
    select :user, :scope, :per::text, :max_runs, :max_cost, :on_limit, :warn_at, budget_begin(:per::text, 'UTC')
      from (select count(*) from before) locked
        on conflict (user_id, scope) do update
       set per = excluded.per, max_runs = excluded.max_runs, max_cost = excluded.max_cost,
           on_limit = excluded.on_limit, warn_at = excluded.warn_at, updated_at = clock_timestamp(),
           begins_at = budget_kept_from(b.begins_at, b.per, 'UTC', excluded.per, 'UTC'),
           told = case when budget_kept_from(b.begins_at, b.per, 'UTC', excluded.per, 'UTC')
                            >= budget_begin(excluded.per, 'UTC')
                       then budget_state(b.runs, b.cost, excluded.max_runs, excluded.max_cost, excluded.warn_at)
                       else b.told end
 returning b.*
), told as (
    select tell_of_budget(b.user_id, b.scope, null, o.told, o.told, b.told, b.per, b.runs, b.cost, b.max_runs,
                          b.max_cost, budget_begin(b.per, 'UTC'), budget_end(b.per, 'UTC')) as alert
      from b
     cross join before o
     where higher_state(o.told, b.told) <> o.told
)
select
-- include: columns
       , array(select alert from told where alert is not null) as alerts
  from b
 cross join lateral write_audit(:user, :act::json, 'budget.set', 'budget', b.scope, b.scope, json_build_array(
            json_build_object('path', 'budget',
                              'from', (select json_build_object('per', o.per, 'max_runs', o.max_runs,
                                                                'max_cost', o.max_cost, 'on_limit', o.on_limit,
                                                                'warn_at', o.warn_at) from before o),
                              'to', json_build_object('per', b.per, 'max_runs', b.max_runs, 'max_cost', b.max_cost,
                                                      'on_limit', b.on_limit, 'warn_at', b.warn_at)))) written
