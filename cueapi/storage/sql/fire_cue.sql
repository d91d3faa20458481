-- Works in any status. Where the month is spent, the execution ends at once. Nothing is made while the account is held.
--
-- :payload, :task   null: those of what is replayed, else the cue's own
-- :at               null: now. What is past is due now
-- :forced           whether a hold does not count
-- :monthly          how many executions a month the user's plan has
--
-- Budgets are counted as in fire_due.sql: the row of the cue is locked first, then those of its group and of the account.
--
-- There is always a row, without an id where nothing was made: the cue is not *known*, the account is held, or a budget is
-- reached.
with hold as materialized (
    select mode, reason, until
      from holds
     where user_id = :user and not :forced and ended_at is null and (until is null or until > now())
), known as materialized (
    select c.id, c.group_name, p.begins, p.ends, c.budget_max_runs, c.budget_max_cost,
           case when p.begins <= c.budget_begins_at then c.budget_runs else 0 end as runs,
           case when p.begins <= c.budget_begins_at then c.budget_cost else 0 end as cost,
           case when p.begins <= c.budget_begins_at then c.budget_told else 'ok' end as told,
           c.budget_told as was, c.budget_per as per
      from cues c
     cross join lateral (
           select case when c.budget_per is not null then budget_begin(c.budget_per, c.timezone) end as begins,
                  case when c.budget_per is not null then budget_end(c.budget_per, c.timezone) end as ends) p
     where c.id = :cue_id and c.user_id = :user and c.deleted_at is null
       for no key update of c
), limits as materialized (
    select b.user_id, b.scope, b.per, p.begins, p.ends, b.max_runs, b.max_cost,
           case when b.begins_at >= p.begins then b.runs else 0 end as runs,
           case when b.begins_at >= p.begins then b.cost else 0 end as cost,
           case when b.begins_at >= p.begins then b.told else 'ok' end as told, b.told as was
      from (select *
              from budgets
             where user_id = :user
               and scope in ('account', 'group:' || (select coalesce(group_name, '') from known))
             order by scope
               for no key update) b
     cross join lateral (select budget_begin(b.per, 'UTC') as begins, budget_end(b.per, 'UTC') as ends) p
), refused as materialized (
    select budget_sentence(per, max_runs, max_cost, cost, ends) as sentence, ends
      from (select 1 as place, per, budget_max_runs as max_runs, budget_max_cost as max_cost, runs, cost, ends
              from known
             union all
            select case scope when 'account' then 3 else 2 end, per, max_runs, max_cost, runs, cost, ends
              from limits) b
     where runs >= max_runs or cost >= max_cost
     order by place
     limit 1
), spent as materialized (
    select check_month(:user, :monthly) as alerts
      from known
     where not exists (select from hold)
       and not exists (select from refused)
), fired as (
    update cues c
       set fired_count = c.fired_count + 1,
           run_count = c.run_count + (case when s.alerts is not null then 1 else 0 end),
           budget_begins_at = case when s.counts then greatest(c.budget_begins_at, k.begins)
                                   else c.budget_begins_at end,
           budget_runs = case when s.counts then k.runs + 1 else c.budget_runs end,
           budget_cost = case when s.counts then k.cost else c.budget_cost end,
           budget_told = case when s.counts
                              then higher_state(k.told, budget_state(k.runs + 1, k.cost, c.budget_max_runs,
                                                                     c.budget_max_cost, c.budget_warn_at))
                              else c.budget_told end,
           last_run = case when :at::timestamptz is null or :triggered_by::text = 'manual_fire' and :at <= now() then now()
                           else c.last_run end
      from (select s.alerts, s.alerts is null and k.begins is not null as counts from spent s, known k) s, known k
     where c.id = k.id
 returning c.id, c.user_id, c.transport, c.callback_host, c.payload, c.task, s.alerts is not null as ends,
           case when s.counts and (c.budget_told <> k.told or k.was <> k.told)
                then tell_of_budget(c.user_id, 'cue:' || c.id, c.id, k.was, k.told, c.budget_told, c.budget_per,
                                    c.budget_runs, c.budget_cost, c.budget_max_runs, c.budget_max_cost, k.begins,
                                    k.ends) end as alert
), used as (
    update budgets b
       set begins_at = greatest(b.begins_at, l.begins),
           runs = l.runs + 1,
           cost = l.cost,
           told = higher_state(l.told, budget_state(l.runs + 1, l.cost, b.max_runs, b.max_cost, b.warn_at))
      from limits l, fired f
     where b.user_id = l.user_id
       and b.scope = l.scope
       and not f.ends
 returning case when b.told <> l.told or l.was <> l.told
                then tell_of_budget(b.user_id, b.scope, null, l.was, l.told, b.told, b.per, b.runs, b.cost, b.max_runs,
                                    b.max_cost, l.begins, l.ends) end as alert
), made as (
    insert into executions (id, cue_id, user_id, transport, triggered_by, replayed_from, scheduled_for, status,
                            ready_at, payload, task, finished_at, dead_at, error_message, deferred, forced)
    select :execution_id, id, user_id, transport, :triggered_by, :replayed_from, coalesce(:at, now()),
           case when ends then 'failed' else 'pending' end,
           greatest(:at, now()),
           coalesce(:payload::json, (select o.payload from executions o where o.id = :replayed_from), payload),
           case when :payload is not null then :task
                when :replayed_from is not null then (select o.task from executions o where o.id = :replayed_from)
                else task end,
           case when ends then now() end, case when ends then now() end,
           case when ends then 'Monthly execution limit reached' end,
           :at > now() is true and not ends, :forced
      from fired
 returning id, cue_id, user_id, transport, scheduled_for, ready_at, status, finished_at, deferred, forced
), tallied as (
    insert into tallies (user_id, bucket, status, count)
    select user_id, five_minutes(finished_at), status, 1 from made where finished_at is not null
-- include: add_tally
), queued as (
    insert into outbox (execution_id, cue_id, user_id, host, ready_at, deferred, forced)
    select m.id, m.cue_id, m.user_id, f.callback_host, m.ready_at, m.deferred, m.forced
      from made m
      join fired f on f.id = m.cue_id
     where m.transport = 'webhook' and m.status = 'pending'
)
select m.id, m.cue_id, m.transport, m.scheduled_for, m.status,
       extract(epoch from m.ready_at - now())::float8 as due_in,
       array(select 'execution_failed' from spent where alerts > 0
              union all
             select alert from fired where alert is not null
              union all
             select alert from used where alert is not null) as alerts,
       exists (select from known) as known, h.mode as hold_mode, h.reason as hold_reason, h.until as hold_until,
       r.sentence as budget_reached, r.ends as budget_ends
  from (select) one
  left join made m on true
  left join hold h on true
  left join refused r on true
