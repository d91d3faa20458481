-- Ends the incidents of workers that are heard again, were removed, or whose work another does, and of budgets that have
-- room again or are there no more; and writes the reminders that are due.
--
-- A budget that has room is locked, as what counts in it does: it is not reached meanwhile. Where it is locked by others,
-- the next look finds it.
--
-- Each list of handlers is gone through once: its names are looked up in one hash table of those that are alive, an
-- account each. What several living workers do together counts as what one does.
with down as materialized (
    select user_id, subject from incidents where kind = 'worker_offline' and resolved_at is null
), back as (
    select d.user_id, d.subject,
           case when d.last_heartbeat is null then 'the worker was removed'
                when d.last_heartbeat > now() - interval '5 minutes' then null
                else 'another worker does its work' end as why
      from (select distinct user_id from down) a
     cross join lateral (
           with living as materialized (
               select handlers
                 from workers
                where user_id = a.user_id and last_heartbeat > now() - interval '180 seconds'
           ), taken as materialized (
               select distinct h.name from living cross join unnest(handlers) h(name)
           )
           select i.user_id, i.subject, w.last_heartbeat
             from down i
             left join workers w on w.user_id = i.user_id and w.worker_id = i.subject
            where i.user_id = a.user_id
              and (w.worker_id is null
                   or w.last_heartbeat > now() - interval '5 minutes'
                   or exists (select from living where handlers = '{}')
                   or w.handlers <> '{}'
                      and not exists (select from unnest(w.handlers) h(name) where h.name not in (select name from taken)))
           ) d
), ended as materialized (
    select user_id, resolve_incident(user_id, 'worker_offline', subject, why) as id
      from (select * from back order by user_id, subject offset 0) b
), roomy_cues as materialized (
    select i.id, i.user_id, i.subject, case when c.budget_per is null then 'the budget was deleted' end as why
      from incidents i
      join cues c on c.id = i.cue_id
     where i.kind = 'budget'
       and i.resolved_at is null
       and (c.budget_per is null
            or c.budget_begins_at < budget_begin(c.budget_per, c.timezone)
            or budget_state(c.budget_runs, c.budget_cost, c.budget_max_runs, c.budget_max_cost,
                            c.budget_warn_at) <> 'reached')
       for no key update of c skip locked
), roomy_budgets as materialized (
    select i.id, i.user_id, i.subject, null as why
      from incidents i
      join budgets b on b.user_id = i.user_id and b.scope = i.subject
     where i.kind = 'budget'
       and i.resolved_at is null
       and i.cue_id is null
       and (b.begins_at < budget_begin(b.per, 'UTC')
            or budget_state(b.runs, b.cost, b.max_runs, b.max_cost, b.warn_at) <> 'reached')
       for no key update of b skip locked
), roomy as (
    select * from roomy_cues
     union all
    select * from roomy_budgets
     union all
    select i.id, i.user_id, i.subject, 'the budget was deleted'
      from incidents i
     where i.kind = 'budget'
       and i.resolved_at is null
       and i.cue_id is null
       and not exists (select from budgets b where b.user_id = i.user_id and b.scope = i.subject)
), over as materialized (
    select user_id, resolve_incident(user_id, 'budget', subject, why, which => id) as id
      from (select * from roomy order by user_id, subject offset 0) r
)
select array_agg(distinct user_id) as users
  from (select user_id from ended
         union all
        select user_id from over where id is not null
         union all
        select user_id from remind_of_incidents() as r(user_id)) t
