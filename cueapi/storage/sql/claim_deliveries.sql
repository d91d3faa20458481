-- Guarantees: a row is claimed by one daemon (skip locked), never more for a host or an account than it has places for,
-- the first of each account before the second of any, each account's in the order of their time; nothing by a daemon that
-- another has seen without its lock, nor for an account that is held. An attempt begins here: `attempts` counts it, the
-- first one counts for the month. An execution whose cue is deleted is claimed, too, without a name. Orphaned outbox rows
-- are deleted. What is for a target that is down is not claimed: it is marked as waiting, once, and is in no later claim's
-- way. The result always has at least one row, with the counters.
--
-- :daemon            its number
-- :places            free places of the pool
-- :kept              how many of these only an account that holds none may have
-- :hosts, :host_counts, :per_host   hosts in flight, how many each, and the most for one
-- :users, :user_counts, :per_user   likewise accounts
-- :timeout, :longest seconds of an attempt where the cue says nothing, and the most that a cue is given
-- :look_at           how many rows to look at
-- :only              the one execution, or null
with busy_hosts as (select * from unnest(:hosts::text[], :host_counts::int[]) as b(host, busy)),
busy_users as (select * from unnest(:users::bigint[], :user_counts::int[]) as b(user_id, busy)),
held_users as (select user_id, mode, until from holds where ended_at is null),
stopped_users as (select user_id from held_users where mode = 'everything' and (until is null or until > now())),
ready as materialized (
    select execution_id, user_id, host, ready_at
      from outbox
     where
-- include: claimable
       and not exists (select from daemons where number = :daemon and free_since is not null)
     order by ready_at
     limit :look_at
       for update skip locked
), down as materialized (
-- include: down_targets
), set_waiting as (
    update outbox o
       set waits_until = now() + interval '1 second'
                       * coalesce((select c.max_wait_seconds from cues c where c.id = o.cue_id), 86400)
     where o.execution_id = any (array(select r.execution_id
                                         from ready r
                                         join down d on d.user_id = r.user_id and d.host = r.host))
 returning 1
), by_user as (
    select r.execution_id, r.host, r.ready_at,
           row_number() over (partition by r.user_id order by r.ready_at) + coalesce(u.busy, 0) as user_place
      from ready r
      left join busy_users u on u.user_id = r.user_id
     where (r.user_id, r.host) not in (select user_id, host from down)
), by_host as (
    select f.execution_id, f.ready_at, f.user_place,
           row_number() over (partition by f.host order by f.user_place, f.ready_at) + coalesce(h.busy, 0) as host_place
      from by_user f
      left join busy_hosts h on h.host = f.host
     where f.user_place <= :per_user
), placed as (
    select execution_id, user_place, row_number() over (order by user_place, ready_at) as place
      from by_host
     where host_place <= :per_host
), picked as materialized (
    select execution_id from placed where place <= :places - case when user_place > 1 then :kept else 0 end
), begun as (
    update executions e
       set status = 'delivering', attempts = e.attempts + 1, claim = gen_random_uuid(),
           started_at = coalesce(e.started_at, now()), last_attempt_at = now(), deferred = false,
           updated_at = clock_timestamp()
      from picked p
     where e.id = p.execution_id
 returning e.id, e.cue_id, e.user_id, e.claim, e.attempts, e.scheduled_for, e.payload, e.lost_claims,
           e.started_at = now() as first, e.triggered_by = 'backfill' as is_backfill
), claimed as (
    update outbox o
       set claimed_by = :daemon,
           deferred = false,
           waits_until = null,
           lease_until = now() + interval '1 second'
                       * (60 + least(coalesce(c.timeout_seconds, :timeout::float8), :longest::float8))
      from begun b
      left join cues c on c.id = b.cue_id
     where o.execution_id = b.id
), counted as (
-- include: count_begun
), orphans as (
    delete from outbox o
     using picked p
     where o.execution_id = p.execution_id
       and not exists (select from executions e where e.id = p.execution_id)
), counts as (
    select examined,
           (select count(*) from picked) as picked,
           (select count(*) from set_waiting) as set_waiting,
           examined < :look_at
               and examined < (select count(*) from (select from outbox where
-- include: claimable
                                                      limit :look_at) waiting) as skipped_locked
      from (select count(*) as examined from ready) r
)
select b.id, b.cue_id, b.user_id, b.claim, b.attempts, b.payload, b.lost_claims, b.scheduled_for, b.is_backfill,
       case when c.deleted_at is null then c.name end as name, c.callback_url,
       c.callback_method, c.callback_headers, c.callback_host,
       c.max_attempts, c.backoff_minutes, c.verification, c.assertions, c.verification_on_failed, c.timeout_seconds,
       c.outcome_deadline_seconds,
       u.webhook_secret,
       case when u.previous_secret_until > now() then u.previous_webhook_secret end as previous_secret,
       n.examined, n.picked, n.set_waiting, n.skipped_locked
  from counts n
  left join begun b on true
  left join cues c on c.id = b.cue_id
  left join users u on u.id = b.user_id
