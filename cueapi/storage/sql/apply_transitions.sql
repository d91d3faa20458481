-- :transitions are JSON records. Returns the executions whose fence still stood.
--
-- Guarantees: a transition is written only upon what it was decided on (claim, attempt, status, last report, and the
-- cue's revision where it was decided by an earlier look at the cue), and with it, or not at all: its outbox row, the
-- log of attempts, the month's outcome counters, and what it makes of its cue: run count, the end of a one-time cue, the
-- pause of `on_failure`, the end of its failures in a row, and of its incidents. What failures lead to beyond that is
-- record_failures.sql, in the same transaction; all changes of a status are here, so that each
-- transaction moves the users' counts of live cues in one statement.
--
-- `any (array(…))` and `status || ''` keep the planner to a look-up by primary key: without the one it scans the whole
-- table while that has few thousand rows, without the other it joins through an index by status.
with transitions as materialized (
    select *
      from json_to_recordset(:transitions::json) as x(
           ord int, id uuid, claim uuid, attempts int, seen text, seen_outcome int, cue_revision bigint,
           status text, pause float8, released bool, claim_lost bool, delivered bool, deadline float8, final bool,
           wire bool, http_status int, response_body text, error_message text, duration_ms bigint,
           sent_after_ms int, first_byte_after_ms int, report bool, success bool, result text, error text,
           metadata json, state text, validation text, missing text, external_id text, result_url text,
           result_ref text, result_type text, summary text, artifacts json, cost numeric,
           consecutive_failures int, alert text, logged_as text, good bool, overdue bool, reported int, done bool)
), decided as (
    update executions e
       set status = x.status,
           attempts = e.attempts - (case when x.released then 1 else 0 end),
           lost_claims = case when x.claim_lost then e.lost_claims + 1
                              when x.released then e.lost_claims else 0 end,
           ready_at = coalesce(now() + x.pause * interval '1 second', e.ready_at),
           claim = null,
           lease_until = null,
           claimed_by_worker = case when x.final then e.claimed_by_worker end,
           claimed_at = case when x.final then e.claimed_at end,
           delivered_at = case when x.delivered then coalesce(e.delivered_at, now()) else e.delivered_at end,
           finished_at = case when x.final then coalesce(e.finished_at, now()) end,
           http_status = case when x.wire then x.http_status else e.http_status end,
           response_body = case when x.wire then x.response_body else e.response_body end,
           error_message = case when x.wire or x.error_message is not null
                                     or (x.done or x.success) and x.status = 'success'
                                then x.error_message else e.error_message end,
           -- What is done fences out the attempts behind it.
           outcome_attempt = case when x.report or x.done then x.attempts else e.outcome_attempt end,
           reported_attempt = case when x.report then coalesce(x.reported, x.attempts) else e.reported_attempt end,
           counted = case when x.good then true when x.consecutive_failures = 1 then false else e.counted end,
           outcome_success = case when x.report then x.success else e.outcome_success end,
           outcome_result = case when x.report then x.result else e.outcome_result end,
           outcome_error = case when x.report then x.error else e.outcome_error end,
           outcome_metadata = case when x.report then x.metadata else e.outcome_metadata end,
           outcome_recorded_at = case when x.report then now() else e.outcome_recorded_at end,
           outcome_state = case when x.report then x.state else e.outcome_state end,
           validation_state = case when x.report then x.validation else e.validation_state end,
           external_id = case when x.report then x.external_id else e.external_id end,
           result_url = case when x.report then x.result_url else e.result_url end,
           result_ref = case when x.report then x.result_ref else e.result_ref end,
           result_type = case when x.report then x.result_type else e.result_type end,
           summary = case when x.report then x.summary else e.summary end,
           artifacts = case when x.report then x.artifacts else e.artifacts end,
           outcome_deadline_at = case when x.released or (x.final and x.deadline is null and not x.wire)
                                      then e.outcome_deadline_at
                                      else now() + x.deadline * interval '1 second' end,
           -- What had been delivered may have been replayed with success before it came to nothing.
           dead_at = case when x.status in ('failed', 'missed', 'outcome_timeout') and x.seen <> x.status
                               and (e.delivered_at is null or not is_replayed_with_success(e.id)) then now()
                          when x.done then null
                          else e.dead_at end,
           updated_at = clock_timestamp()
      from transitions x
     where e.id = x.id
       and e.id = any (array(select id from transitions))
       and e.claim is not distinct from x.claim
       and e.attempts = x.attempts
       and e.status || '' = x.seen
       and (x.seen_outcome is null or coalesce(e.outcome_attempt, -1) = x.seen_outcome)
       and (not x.overdue or coalesce(least(e.outcome_deadline_at, e.lease_until) <= now(), true))
       and (x.cue_revision is null
            or x.cue_revision = (select c.revision from cues c where c.id = e.cue_id))
 returning e.id, e.cue_id, e.user_id, e.transport, e.triggered_by, e.scheduled_for, e.status, e.ready_at,
           -- What is delivered and owes a report has not succeeded before that comes.
           e.replayed_from is not null
               and (x.done or e.status || '' = 'success' and x.seen <> 'success' and x.deadline is null) as replays,
           e.triggered_by = 'manual_fire' and e.scheduled_for > e.created_at as was_put_off,
           e.started_at, e.last_attempt_at, e.finished_at, e.outcome_attempt, e.outcome_state, e.forced, x.attempts,
           x.final,
           x.seen in ('success', 'failed', 'missed', 'outcome_timeout') as was_final,
           x.final or not exists (select from cues c where c.id = e.cue_id and c.deleted_at is null) as leaves,
           -- What a backfill makes is told of by its operation alone.
           case when e.triggered_by <> 'backfill' then x.consecutive_failures end as consecutive_failures,
           x.alert is not null and e.triggered_by <> 'backfill' as lost,
           case when e.triggered_by <> 'backfill' then x.missing end as missing,
           x.good and e.triggered_by <> 'backfill' as good,
           -- Delivered, and without a report that it owed: it counted as good before its report came.
           -- Not what its report had made a failure, before evidence made it good.
           x.seen = 'success' and e.outcome_deadline_at is null and (x.report or not x.done) as was_good, x.report,
           x.success, x.done, x.cost, x.logged_as,
           x.reported, x.seen = 'delivering' as was_delivering,
           x.http_status, x.response_body, x.duration_ms, x.sent_after_ms, x.first_byte_after_ms,
           coalesce(x.error_message, x.error) as reason
), revived as (
    -- What a replay has made good is no dead letter any more.
    update executions e
       set dead_at = null
     where e.id = any (array(select replayed_executions(d.id) from decided d where d.replays))
       and e.dead_at is not null
), unqueued as (
    -- The attempts of a deleted cue end with the one that was under way.
    delete from outbox o using decided d where o.execution_id = d.id and d.leaves
), requeued as (
    -- What was delivered, and is attempted again after its deadline, has no row any more.
    insert into outbox (execution_id, cue_id, user_id, host, ready_at, forced)
    select d.id, d.cue_id, d.user_id, c.callback_host, d.ready_at, d.forced
      from decided d
      join cues c on c.id = d.cue_id
     where d.transport = 'webhook' and not d.leaves
     order by d.id
        on conflict (execution_id) do update
       set claimed_by = null, lease_until = null, ready_at = excluded.ready_at
), logged as (
    insert into attempts (execution_id, attempt, started_at, duration_ms, sent_after_ms, first_byte_after_ms,
                          http_status, error, outcome, response_body)
    select id, coalesce(reported, attempts), last_attempt_at,
           -- Not below 0 where the clock was set back meanwhile.
           greatest(coalesce(duration_ms, extract(epoch from now() - last_attempt_at) * 1000), 0),
           sent_after_ms, first_byte_after_ms, http_status, reason, logged_as, response_body
      from decided
     where logged_as is not null and coalesce(reported, attempts) > 0
     union all
    -- An earlier attempt has done the work: the one that was under way is called off.
    select id, attempts, last_attempt_at, greatest(extract(epoch from now() - last_attempt_at) * 1000, 0),
           null, null, null, null, 'called_off', null
      from decided
     where reported < attempts and done and was_delivering
        on conflict (execution_id, attempt) do update
       set outcome = excluded.outcome,
           error = coalesce(excluded.error, attempts.error),
           http_status = coalesce(excluded.http_status, attempts.http_status),
           response_body = coalesce(excluded.response_body, attempts.response_body)
), counted as (
    insert into usage (user_id, month, reported, succeeded, failed)
    select user_id, date_trunc('month', now() at time zone 'utc')::date,
           count(*), count(*) filter (where success), count(*) filter (where not success)
      from decided
     where report
     group by user_id
     order by user_id
        on conflict (user_id, month) do update
       set reported = usage.reported + excluded.reported,
           succeeded = usage.succeeded + excluded.succeeded,
           failed = usage.failed + excluded.failed
), moves as (
    -- One row a cue. Of its executions the latest counts: of the scheduled ones for the end of a one-time cue, of the
    -- lost ones for its pause.
    select cue_id,
           count(*) filter (where final and not was_final) - count(*) filter (where was_final and not final) as runs,
           coalesce(bool_or(consecutive_failures = 0), false) as succeeded,
           coalesce(bool_or(consecutive_failures = 1), false) as failed,
           bool_or(lost) as lost, sum(cost) as cost,
           -- Of what was asked for at a later time: every other firing is noted when it is made.
           max(started_at) filter (where was_put_off) as begun_at,
           -- Of what did well among failures, record_failures.sql keeps the order.
           case when bool_or(good) and not coalesce(bool_or(consecutive_failures = 1 or missing is not null), false)
                then coalesce(array_agg(id) filter (where good and not was_good), '{}') end as good,
           array_agg(id) filter (where good and (report or done)) as reported,
           (array_agg(id order by id desc) filter (where lost))[1] as lost_id,
           (array_agg(reason order by id desc) filter (where lost))[1] as lost_reason,
           max(scheduled_for) filter (where triggered_by = 'scheduled') as scheduled_for,
           (array_agg(case when not final and not was_final then null
                           when not final then 'active'
                           when status = 'success' then 'completed'
                           else 'failed' end order by scheduled_for desc)
              filter (where triggered_by = 'scheduled'))[1] as once_status
      from decided
     group by cue_id
    having bool_or(final or was_final or consecutive_failures is not null or cost > 0)
), locked as (
    -- In the same order by every writer: two recorders must not wait for each other.
    select c.id, c.user_id, c.status as was, c.schedule_type = 'once' as is_once,
           c.schedule_type = 'once' and c.next_run is null as is_over,
           m.runs, m.succeeded and not m.failed as ends_failures, c.on_failure_pause and m.lost as pauses,
           m.lost_id, m.lost_reason, m.good, m.reported, c.consecutive_failures > 0 as was_failing,
           m.cost, m.begun_at, c.group_name,
           p.begins, case when c.budget_begins_at >= p.begins then c.budget_runs else 0 end as used_runs,
           case when c.budget_begins_at >= p.begins then c.budget_cost else 0 end + coalesce(m.cost, 0) as used_cost,
           case when c.budget_begins_at >= p.begins then c.budget_told else 'ok' end as told,
           c.budget_told as was_told,
           -- The execution of an earlier schedule makes nothing of its cue.
           case when c.schedule_type = 'once' and c.schedule_at = m.scheduled_for then m.once_status end as once_status
      from cues c
      join moves m on m.cue_id = c.id
     cross join lateral (
           select case when m.cost > 0 and c.budget_per is not null
                       then budget_begin(c.budget_per, c.timezone) end as begins) p
     where c.deleted_at is null
     order by c.id
       for no key update of c
), changes as (
    select l.*,
           case when is_over and once_status is not null then once_status
                when pauses and was = 'active' and not is_once then 'paused'
                else was end as status
      from locked l
), moved as (
    update cues c
       set run_count = c.run_count + n.runs,
           consecutive_failures = case when n.ends_failures then 0 else c.consecutive_failures end,
           status = n.status,
           pause_reason = case when n.status = n.was then c.pause_reason
                               when n.status = 'paused'
                               then pause_reason(n.lost_id, n.lost_reason) end,
           next_run = case when n.pauses and not n.is_once then null else c.next_run end,
           last_run = greatest(c.last_run, n.begun_at),
           -- It moves with the status: a change that was made upon the cue before it ended must not revive it.
           revision = c.revision + (case when n.pauses or n.status <> n.was then 1 else 0 end),
           updated_at = case when n.status <> n.was then clock_timestamp() else c.updated_at end,
           budget_begins_at = greatest(c.budget_begins_at, n.begins),
           budget_runs = case when n.begins is null then c.budget_runs else n.used_runs end,
           budget_cost = case when n.begins is null then c.budget_cost else n.used_cost end,
           budget_told = case when n.begins is null then c.budget_told
                              else higher_state(n.told, budget_state(n.used_runs, n.used_cost, c.budget_max_runs,
                                                                     c.budget_max_cost, c.budget_warn_at)) end
      from changes n
     where c.id = n.id
 returning c.id, c.user_id, c.name, c.pause_reason,
           case when n.status = 'paused' and n.was = 'active' then n.lost_id end as paused_by,
           case when n.begins is not null and (c.budget_told <> n.told or n.was_told <> n.told)
                then tell_of_budget(c.user_id, 'cue:' || c.id, c.id, n.was_told, n.told, c.budget_told, c.budget_per,
                                    c.budget_runs, c.budget_cost, c.budget_max_runs, c.budget_max_cost, n.begins,
                                    budget_end(c.budget_per, c.timezone)) end as told
), limits as materialized (
    -- As in fire_due.sql: behind the cues, and in one order.
    select b.user_id, b.scope, p.begins, case when b.begins_at >= p.begins then b.runs else 0 end as runs,
           case when b.begins_at >= p.begins then b.cost else 0 end as cost,
           case when b.begins_at >= p.begins then b.told else 'ok' end as told, b.told as was
      from (select *
              from budgets
             where user_id = any (array(select user_id from locked where cost > 0))
               and (scope = 'account' or scope = any (array(select 'group:' || group_name from locked where cost > 0)))
             order by user_id, scope
               for no key update) b
     cross join lateral (select budget_begin(b.per, 'UTC') as begins) p
), costed as (
    update budgets b
       set begins_at = greatest(b.begins_at, l.begins),
           runs = l.runs,
           cost = l.cost + n.cost,
           told = higher_state(l.told, budget_state(l.runs, l.cost + n.cost, b.max_runs, b.max_cost, b.warn_at))
      from limits l
      join (select user_id, 'account' as scope, sum(cost) as cost from locked where cost > 0 group by 1
             union all
            select user_id, 'group:' || group_name, sum(cost) from locked where cost > 0 group by 1, 2) n
     using (user_id, scope)
     where b.user_id = l.user_id
       and b.scope = l.scope
 returning case when b.told <> l.told or l.was <> l.told
                then tell_of_budget(b.user_id, b.scope, null, l.was, l.told, b.told, b.per, b.runs, b.cost, b.max_runs,
                                    b.max_cost, l.begins, budget_end(b.per, 'UTC')) end as told
), paused as materialized (
    select id, paused_by,
           write_audit(user_id, system_act(pause_reason), 'cue.paused', 'cue', id, name,
                       changes_of(field_change('status', 'active'::text, 'paused'::text))) as audited
      from moved
     where paused_by is not null
), recovered as materialized (
    -- Where a cue has no failures in a row, one look into an index says whether anything is unresolved.
    select id, recover_incidents(id, good, coalesce(reported, '{}')) as incidents
      from (select id, good, reported
              from locked
             where good is not null
               and (was_failing
                    or id = any (array(select cue_id from incidents
                                        where resolved_at is null
                                          and cue_id = any (array(select cue_id from moves where good is not null)))))
             order by user_id, id
            offset 0) l
), counting as materialized (
    -- Whose counts of live cues the triggers will move: locked in one order, and before any tally.
    select id
      from users
     where id in (select user_id from changes where status <> was)
     order by id
       for no key update
), tally as (
    select d.user_id, five_minutes(d.finished_at) as bucket, d.status, 1 as count,
           unsuccessful(d.status, d.attempts, d.outcome_attempt, d.outcome_state) as unsuccessful,
           case when d.triggered_by <> 'backfill' then lag_of(d.started_at, d.scheduled_for) end as lag
      from decided d
     where d.final
     union all
    -- As it was before this statement.
    select d.user_id, five_minutes(o.finished_at), o.status, -1,
           -unsuccessful(o.status, o.attempts, o.outcome_attempt, o.outcome_state),
           case when d.triggered_by <> 'backfill' then -lag_of(o.started_at, o.scheduled_for) end
      from decided d
     cross join lateral (select * from executions e where e.id = d.id limit 1) o
     where d.was_final
), tallied as (
    insert into tallies (user_id, bucket, status, count, unsuccessful, lag_sum, lag_max)
    select user_id, bucket, status, sum(count), sum(unsuccessful), coalesce(sum(lag), 0),
           max(lag) filter (where count > 0)
      from tally
     where (select count(*) from counting) is not null
     group by user_id, bucket, status
    having sum(count) <> 0 or sum(unsuccessful) <> 0 or sum(lag) <> 0
     order by user_id, bucket, status
-- include: add_tally
)
select d.id, d.user_id, d.status, d.ready_at, d.cue_id, c.name as cue_name,
       coalesce(d.consecutive_failures = 1, false) or d.lost or d.missing is not null
           or coalesce(r.incidents > 0, false) as is_told,
       coalesce(p.paused_by = d.id, false) as has_paused, d.triggered_by = 'backfill' as is_backfill,
       array(select told from moved where told is not null
              union all
             select told from costed where told is not null) as budget_alerts
  from decided d
  left join cues c on c.id = d.cue_id
  left join paused p on p.id = d.cue_id
  left join recovered r on r.id = d.cue_id
 where (select count(audited) from paused) is not null
