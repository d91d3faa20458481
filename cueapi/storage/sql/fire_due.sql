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
-- The planner takes each of these tables for one row. So none is joined with another, which would compare each row with
-- each; cues are found by primary key (`any (array(…))`), executions by cue (`status || ''`: by no index of the status).
with due as (
    select * from json_to_recordset(:due_cues::json)
        as t(cue text, seen timestamptz, revision bigint, next timestamptz, local timestamp, late bool)
), firings as (
    select * from json_to_recordset(:firings::json)
        as f(id uuid, cue text, scheduled_for timestamptz, missed_runs int, missed bool)
), held as materialized (
    select c.id, c.user_id, c.name, c.transport, c.callback_host, c.payload, c.task, c.overlap,
           c.schedule_type = 'once' as once, c.parked_run, t.seen, t.next, t.local, t.late
      from cues c
      join due t on t.cue = c.id
     where c.id = any (array(select cue from due))
       and c.next_run = t.seen
       and c.revision = t.revision
       and c.status = 'active'
       and c.deleted_at is null
     order by c.id
       for no key update of c skip locked
), spent as materialized (
    select id, alerts
      from (select u.id,
                   check_month(u.id, coalesce(:monthly::jsonb ->> u.plan, :monthly::jsonb ->> 'self_hosted')::bigint)
                       as alerts
              from users u
             where u.id in (select user_id from held)) m
     where alerts is not null
), on_hold as materialized (
    select user_id, until
      from holds
     where user_id = any (array(select user_id from held)) and ended_at is null
       for share
), was_held as materialized (
    select user_id, since, ended_at
      from holds
     where user_id = any (array(select user_id from held)) and ended_at is not null
), planned as materialized (
    select f.id, f.cue, f.scheduled_for, f.missed_runs, f.missed, h.user_id, h.transport, h.payload, h.task, h.overlap,
           o.user_id is not null or w.user_id is not null and not h.once as stopped,
           h.once and (w.user_id is not null or h.parked_run is not null) as late
      from firings f
      join held h on h.id = f.cue
      left join on_hold o
        on o.user_id = h.user_id and (o.until is null or o.until > now() or f.scheduled_for < o.until)
      left join was_held w on w.user_id = h.user_id and f.scheduled_for between w.since and w.ended_at
), made as (
    insert into executions (id, cue_id, user_id, transport, triggered_by, scheduled_for, status, ready_at, payload,
                            task, missed_runs, finished_at, error_message, late)
    select p.id, p.cue, p.user_id, p.transport, 'scheduled', p.scheduled_for,
           case when p.missed or busy.id is not null then 'missed'
                when s.id is not null then 'failed'
                else 'pending' end,
           p.scheduled_for, p.payload, p.task, p.missed_runs,
           case when p.missed or busy.id is not null or s.id is not null then now() end,
           case when p.missed then 'Missed while no daemon ran; catchup is none.'
                when busy.id is not null then format('Skipped: execution %s is still running.', busy.id)
                when s.id is not null then 'Monthly execution limit reached' end,
           p.late
      from planned p
      left join spent s on s.id = p.user_id
      left join lateral (
           (select e.id from executions e
             where p.overlap = 'skip' and e.cue_id = p.cue and e.finished_at is null and e.attempts > 0 limit 1)
           union all
           (select e.id from executions e
             where p.overlap = 'skip' and e.cue_id = p.cue and e.status || '' = 'success'
               and e.outcome_deadline_at > now() and e.attempts > 0
               and (e.outcome_attempt is null or e.outcome_attempt < e.attempts) limit 1)
           limit 1) busy on true
     where not p.stopped
        on conflict (cue_id, scheduled_for) where triggered_by = 'scheduled' do nothing
 returning id, cue_id, user_id, transport, status, ready_at, scheduled_for, finished_at
), counts as (
    select cue_id, max(next) as next, max(local) as local, count(status) as made,
           count(*) filter (where status <> 'pending') as ended, count(*) filter (where status <> 'missed') as fired,
           sum(stopped) as stopped
      from (select id as cue_id, next, local, null as status, 0 as stopped from held
             union all
            select cue_id, null, null, status, 0 from made
             union all
            select cue, null, null, null, 1 + missed_runs from planned where stopped) moves
     group by cue_id
), moved as (
    update cues c
       set next_run = n.next,
           next_local = n.local,
           planned_at = now(),
           status = case when c.schedule_type = 'once' and n.ended > 0 then 'failed' else c.status end,
           revision = c.revision + (case when c.schedule_type = 'once' and n.ended > 0 then 1 else 0 end),
           updated_at = case when c.schedule_type = 'once' and n.ended > 0 then clock_timestamp() else c.updated_at end,
           fired_count = c.fired_count + n.made,
           run_count = c.run_count + n.ended,
           held_count = c.held_count + case when c.schedule_type = 'recurring' then n.stopped else 0 end,
           parked_run = case when c.schedule_type = 'once' and n.stopped > 0 then c.next_run end,
           last_run = case when n.fired > 0 then now() else c.last_run end
      from counts n
     where c.id = n.cue_id
 returning c.user_id, c.status
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
    select raise_alert(h.user_id, 'missed_run', h.id, h.id,
                       (select m.id from made m where m.cue_id = h.id order by m.scheduled_for desc limit 1),
                       format('%s was due at %s and fired %s s late.', h.name, iso(h.seen),
                              round(extract(epoch from now() - h.seen))),
                       json_build_object('due_at', iso(h.seen)),
                       of_incident => open_incident(
                           h.user_id, 'late', h.id, h.name,
                           format('%s fired %s s late', h.name, round(extract(epoch from now() - h.seen))), 'critical',
                           h.id, (select m.id from made m where m.cue_id = h.id order by m.scheduled_for desc limit 1))
                       ) as id
      from (select *
              from held
             where late and id not in (select cue from planned where stopped)
             order by user_id, id
            offset 0) h
)
select (select count(*) from held) as held,
       array(select 'missed_run' from raised where id is not null
              union all
             select 'execution_failed' from spent where alerts > 0) as alerts,
       count(*) filter (where status = 'pending') as fired,
       count(*) filter (where status = 'missed') as missed,
       array_agg(distinct user_id) filter (where transport = 'worker' and status = 'pending') as workers,
       (select array_agg(distinct user_id) from held) as users
  from made
