-- :due_cues and :firings are JSON records; :monthly is how many executions a month each plan has.
--
-- Guarantees: a cue is moved only from what the poll read; its next run, its executions and their outbox rows appear
-- together; a scheduled time fires at most once. A cue that another daemon is moving is skipped. "Is one running?" is
-- asked where the row is made. An account whose month is spent has executions that end at once.
--
-- Of an account that is held nothing fires: the time of a recurring cue is gone, that of a one-time cue is parked. The row
-- of a hold in force is locked, so that its release finds all that was parked. Times within the last hold are not caught
-- up with.
--
-- Budgets are counted in their own rows (of a cue, in its row), which are locked: cues first, then groups and accounts in
-- one order. What goes beyond one is `missed`. Of each scope the earliest times are let through.
--
-- The planner takes each of these tables for one row. So none is joined with another, which would compare each row with
-- each; cues are found by primary key (`any (array(…))`), executions by cue (`status || ''`: by no index of the status).
with due as (
    select * from json_to_recordset(:due_cues::json)
        as t(cue text, seen timestamptz, revision bigint, next timestamptz, local timestamp, late bool)
), firings as (
    select * from json_to_recordset(:firings::json)
        as f(id uuid, cue text, scheduled_for timestamptz, missed_runs int, missed bool)
), held as materialized (
    select c.id, c.user_id, c.name, c.transport, c.callback_host, c.payload, c.task, c.overlap, c.group_name,
           c.schedule_type = 'once' as once, c.parked_run, t.seen, t.next, t.local, t.late, c.budget_max_runs,
           c.budget_max_cost, c.budget_on_limit = 'pause' as budget_pauses, p.begins as budget_begins,
           case when p.begins <= c.budget_begins_at then c.budget_runs else 0 end as budget_runs,
           case when p.begins <= c.budget_begins_at then c.budget_cost else 0 end as budget_cost,
           case when p.begins <= c.budget_begins_at then c.budget_told else 'ok' end as budget_told,
           c.budget_told as budget_was,
           case when c.budget_per is not null
                then budget_sentence(c.budget_per, c.budget_max_runs, c.budget_max_cost,
                                     case when p.begins <= c.budget_begins_at then c.budget_cost end,
                                     budget_end(c.budget_per, c.timezone)) end as budget_sentence
      from cues c
      join due t on t.cue = c.id
     cross join lateral (
           select case when c.budget_per is not null then budget_begin(c.budget_per, c.timezone) end as begins) p
     where c.id = any (array(select cue from due))
       and c.next_run = t.seen
       and c.revision = t.revision
       and c.status = 'active'
       and c.deleted_at is null
     order by c.id
       for no key update of c skip locked
), limits as materialized (
    select b.user_id, b.scope, p.begins, p.ends, b.max_runs, b.max_cost, b.on_limit = 'pause' as pauses,
           case when b.begins_at >= p.begins then b.runs else 0 end as runs,
           case when b.begins_at >= p.begins then b.cost else 0 end as cost,
           case when b.begins_at >= p.begins then b.told else 'ok' end as told, b.told as was,
           budget_sentence(b.per, b.max_runs, b.max_cost, case when b.begins_at >= p.begins then b.cost end, p.ends)
               as sentence
      from (select *
              from budgets
             where user_id = any (array(select user_id from held))
               and (scope = 'account' or scope = any (array(select 'group:' || group_name from held)))
             order by user_id, scope
               for no key update) b
     cross join lateral (select budget_begin(b.per, 'UTC') as begins, budget_end(b.per, 'UTC') as ends) p
), spent as materialized (
    select id, alerts
      from (select u.id,
                   check_month(u.id, coalesce(:monthly::jsonb ->> u.plan, :monthly::jsonb ->> 'self_hosted')::bigint)
                       as alerts
              from users u
             where u.id in (select user_id from held)
               -- Behind the budgets, as every writer locks them.
               and (select count(*) from limits) is not null) m
     where alerts is not null
), braked as materialized (
    -- One look for both: a hold that ends meanwhile is waited for, and read as it is then.
    select user_id, since, until, ended_at
      from holds
     where user_id = any (array(select user_id from held))
       for share
), on_hold as (
    select user_id, until from braked where ended_at is null
), was_held as (
    select user_id, since, ended_at from braked where ended_at is not null
), planned as materialized (
    select f.id, f.cue, f.scheduled_for, f.missed_runs, h.user_id, h.group_name, h.transport, h.payload, h.task,
           h.budget_max_runs, h.budget_max_cost, h.budget_pauses, h.budget_runs, h.budget_cost, h.budget_sentence,
           o.user_id is not null or w.user_id is not null and not h.once as stopped,
           h.once and (w.user_id is not null or h.parked_run is not null) as late,
           case when f.missed or busy.id is not null then 'missed'
                when s.id is not null then 'failed'
                else 'pending' end as status,
           case when f.missed then 'Missed while no daemon ran; catchup is none.'
                when busy.id is not null then format('Skipped: execution %s is still running.', busy.id)
                when s.id is not null then 'Monthly execution limit reached' end as message
      from firings f
      join held h on h.id = f.cue
      left join on_hold o
        on o.user_id = h.user_id and (o.until is null or o.until > now() or f.scheduled_for < o.until)
      left join was_held w on w.user_id = h.user_id and f.scheduled_for between w.since and w.ended_at
      left join spent s on s.id = h.user_id
      left join lateral (
           (select e.id from executions e
             where h.overlap = 'skip' and e.cue_id = h.id and e.finished_at is null and e.attempts > 0 limit 1)
           union all
           (select e.id from executions e
             where h.overlap = 'skip' and e.cue_id = h.id and e.status || '' = 'success'
               and e.outcome_deadline_at > now() and e.attempts > 0
               and (e.outcome_attempt is null or e.outcome_attempt < e.attempts) limit 1)
           limit 1) busy on true
), wanted as (
    select p.*, not stopped and status = 'pending' as wanted from planned p
), of_cue as (
    select p.*,
           wanted and (budget_cost >= budget_max_cost
                       or budget_runs + count(*) filter (where wanted)
                              over (partition by cue order by scheduled_for, id) > budget_max_runs) is true as by_cue
      from wanted p
), of_group as (
    select p.*, l.sentence as group_sentence, l.pauses as group_pauses, l.runs as group_runs,
           l.max_runs as group_max_runs, l.cost >= l.max_cost as group_cost_reached,
           wanted and not by_cue and (l.cost >= l.max_cost
                       or l.runs + count(*) filter (where wanted and not by_cue)
                              over (partition by p.user_id, group_name order by scheduled_for, p.id)
                          > l.max_runs) is true as by_group
      from of_cue p
      left join limits l on l.user_id = p.user_id and l.scope = 'group:' || p.group_name
), of_account as (
    select p.*, l.sentence as account_sentence, l.pauses as account_pauses, l.runs as account_runs,
           l.max_runs as account_max_runs, l.cost >= l.max_cost as account_cost_reached,
           wanted and not by_cue and not by_group and (l.cost >= l.max_cost
                       or l.runs + count(*) filter (where wanted and not by_cue and not by_group)
                              over (partition by p.user_id order by scheduled_for, p.id)
                          > l.max_runs) is true as by_account
      from of_group p
      left join limits l on l.user_id = p.user_id and l.scope = 'account'
), let_through as (
    select p.*, by_cue or by_group or by_account as refused, wanted and not (by_cue or by_group or by_account) as fires
      from of_account p
), reached as (
    -- The limit that is reached: what an outer scope refuses is used up in none.
    select p.*,
           case when not refused then null
                when budget_cost >= budget_max_cost
                     or budget_runs + count(*) filter (where fires)
                            over (partition by cue order by scheduled_for, id) >= budget_max_runs then 'cue'
                when group_cost_reached
                     or group_runs + count(*) filter (where fires)
                            over (partition by user_id, group_name order by scheduled_for, id) >= group_max_runs
                then 'group'
                else 'account' end as by_scope
      from let_through p
), decided as materialized (
    select p.*,
           case when refused
                then coalesce(case by_scope when 'cue' then budget_sentence when 'group' then group_sentence
                                            else account_sentence end,
                              budget_sentence, group_sentence) end as refusal,
           case by_scope when 'cue' then budget_pauses when 'group' then group_pauses
                         when 'account' then account_pauses else false end as pauses
      from reached p
), made as (
    insert into executions (id, cue_id, user_id, transport, triggered_by, scheduled_for, status, ready_at, payload,
                            task, missed_runs, finished_at, dead_at, error_message, late)
    select id, cue, user_id, transport, 'scheduled', scheduled_for,
           case when refusal is null then status else 'missed' end,
           scheduled_for, payload, task, missed_runs,
           case when refusal is not null or status <> 'pending' then now() end,
           case when refusal is null and status = 'failed' then now() end, coalesce(refusal, message), late
      from decided
     where not stopped
        on conflict (cue_id, scheduled_for) where triggered_by = 'scheduled' do nothing
 returning id, cue_id, user_id, transport, status, ready_at, scheduled_for, finished_at
), moves as (
    select id as cue_id, once, next, local, null as status, 0 as stopped, null as pause, budget_begins, budget_runs,
           budget_cost, budget_told, budget_was
      from held
     union all
    select cue_id, null, null, null, status, 0, null, null, null, null, null, null from made
     union all
    select cue, null, null, null, null, case when stopped then 1 + missed_runs else 0 end,
           case when pauses then refusal end, null, null, null, null, null
      from decided
     where stopped or pauses
), counts as (
    select cue_id, bool_or(once) as once, max(next) as next, max(local) as local, count(status) as made,
           count(*) filter (where status <> 'pending') as ended, count(*) filter (where status <> 'missed') as fired,
           count(*) filter (where status = 'pending') as begun, sum(stopped) as stopped, max(pause) as pause,
           max(budget_begins) as begins, max(budget_runs) as runs, max(budget_cost) as cost, max(budget_told) as told,
           max(budget_was) as was
      from moves
     group by cue_id
), moved as (
    update cues c
       set next_run = case when n.pauses then null else n.next end,
           next_local = n.local,
           planned_at = now(),
           status = case when n.ends then 'failed' when n.pauses then 'paused' else c.status end,
           pause_reason = case when n.pauses then format('Paused at %s: %s.', iso(now()), n.pause)
                               else c.pause_reason end,
           revision = c.revision + (case when n.ends or n.pauses then 1 else 0 end),
           updated_at = case when n.ends or n.pauses then clock_timestamp() else c.updated_at end,
           fired_count = c.fired_count + n.made,
           run_count = c.run_count + n.ended,
           held_count = c.held_count + case when c.schedule_type = 'recurring' then n.stopped else 0 end,
           parked_run = case when c.schedule_type = 'once' and n.stopped > 0 then c.next_run end,
           budget_begins_at = case when n.counts then greatest(c.budget_begins_at, n.begins) else c.budget_begins_at end,
           budget_runs = case when n.counts then n.runs + n.begun else c.budget_runs end,
           budget_cost = case when n.counts then n.cost else c.budget_cost end,
           budget_told = case when n.counts
                              then higher_state(n.told, budget_state(n.runs + n.begun, n.cost, c.budget_max_runs,
                                                                     c.budget_max_cost, c.budget_warn_at))
                              else c.budget_told end,
           last_run = case when n.fired > 0 then now() else c.last_run end
      from (select n.*, n.once and n.ended > 0 as ends, not n.once and n.pause is not null as pauses,
                   n.begins is not null and n.begun > 0 as counts
              from counts n) n
     where c.id = n.cue_id
 returning c.id, c.user_id, c.status,
           case when n.counts and (c.budget_told <> n.told or n.was <> n.told)
                then tell_of_budget(c.user_id, 'cue:' || c.id, c.id, n.was, n.told, c.budget_told, c.budget_per,
                                    c.budget_runs, c.budget_cost, c.budget_max_runs, c.budget_max_cost, n.begins,
                                    budget_end(c.budget_per, c.timezone)) end as alert,
           case when n.pauses
                then write_audit(c.user_id, system_act(n.pause), 'cue.paused', 'cue', c.id, c.name,
                                 changes_of(field_change('status', 'active'::text, 'paused'::text))) end as audited
), used as (
    update budgets b
       set begins_at = greatest(b.begins_at, l.begins),
           runs = l.runs + n.runs,
           cost = l.cost,
           told = higher_state(l.told, budget_state(l.runs + n.runs, l.cost, b.max_runs, b.max_cost, b.warn_at))
      from limits l
      join (select user_id, 'account' as scope, count(*) as runs from made where status = 'pending' group by 1
             union all
            select user_id, 'group:' || group_name, count(*)
              from decided
             where group_name is not null
               and (select count(*) from limits) > 0
               and id in (select id from made where status = 'pending')
             group by 1, 2) n using (user_id, scope)
     where b.user_id = l.user_id
       and b.scope = l.scope
 returning case when b.told <> l.told or l.was <> l.told
                then tell_of_budget(b.user_id, b.scope, null, l.was, l.told, b.told, b.per, b.runs, b.cost, b.max_runs,
                                    b.max_cost, l.begins, l.ends) end as alert
), counting as materialized (
    -- As in apply_transitions.sql: a cue that was active has failed.
    select id from users where id in (select user_id from moved where status = 'failed') order by id for no key update
), tallied as (
    insert into tallies (user_id, bucket, status, count)
    select user_id, five_minutes(finished_at), status, count(*)
      from made
     where finished_at is not null
       and (select count(*) from counting) is not null
     group by 1, 2, 3
     order by 1, 2, 3
-- include: add_tally
), queued as (
    insert into outbox (execution_id, cue_id, user_id, host, ready_at)
    select m.id, m.cue_id, m.user_id, c.callback_host, m.ready_at
      from made m
      join cues c on c.id = m.cue_id
     where m.transport = 'webhook' and m.status = 'pending'
), raised as (
    -- Only what fires is late: what was missed, or is beyond a budget, says so itself.
    select raise_alert(h.user_id, 'missed_run', h.id, h.id, h.firing,
                       format('%s was due at %s and fired %s s late.', h.name, iso(h.seen),
                              round(extract(epoch from now() - h.seen))),
                       json_build_object('due_at', iso(h.seen)),
                       of_incident => open_incident(
                           h.user_id, 'late', h.id, h.name,
                           format('%s fired %s s late', h.name, round(extract(epoch from now() - h.seen))), 'critical',
                           h.id, h.firing)) as id
      from (select h.*,
                   (select m.id from made m
                     where m.cue_id = h.id and m.status = 'pending' order by m.scheduled_for desc limit 1) as firing
              from held h
             where late and id not in (select cue from decided where stopped)
             order by user_id, id
            offset 0) h
     where h.firing is not null
)
select (select count(*) from held) as held,
       array(select 'missed_run' from raised where id is not null
              union all
             select 'execution_failed' from spent where alerts > 0
              union all
             select alert from used where alert is not null
              union all
             select alert from moved where alert is not null) as alerts,
       count(*) filter (where status = 'pending') as fired,
       count(*) filter (where status = 'missed') as missed,
       array_agg(distinct user_id) filter (where transport = 'worker' and status = 'pending') as workers,
       (select array_agg(distinct user_id) from held) as users
  from made
