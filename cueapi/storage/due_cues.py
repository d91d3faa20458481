"""What the poll reads and writes: due cues become executions and outbox rows, a batch a statement."""

import json
from collections.abc import Iterable, Mapping
from datetime import datetime

from attrs import frozen

from cueapi.domain.catchup import FiringPlan
from cueapi.domain.ids import new_uuid7
from cueapi.storage.database import Executor, Row


class DueCueRow(Row):
    """A cue whose time has come: what its firings are computed from, and what the poll is fenced by."""

    id: str
    next_run: datetime
    revision: int
    cron: str | None
    timezone: str
    catchup: str
    overlap: str
    now: datetime
    window_multiplier: int | None


# PostgreSQL's now() decides what is due.
DUE = """
select id, next_run, revision, cron, timezone, catchup, overlap, clock_timestamp() as now,
       alert_missed_window_multiplier as window_multiplier
  from cues
 where next_run <= now()
   and status = 'active'
   and deleted_at is null
 order by next_run
 limit $1
"""


async def due(db: Executor, limit: int) -> list[DueCueRow]:
    """The cues whose time has come, the latest ones last."""
    return await db.fetch(DUE, limit, row=DueCueRow)


@frozen
class DueCue:
    """What a poll found of a cue, and what it makes of it. *late* says that its user wants to hear of the delay."""

    cue_id: str
    seen: datetime
    revision: int
    firings: FiringPlan
    late: bool = False


class PollResult(Row):
    """What a poll has moved: cues, executions made by kind, alerts, and the users whose workers have work."""

    held: int
    alerts: int
    fired: int
    missed: int
    workers: list[int] | None


# $1 turns, $2 firings, both as JSON records, $3 executions a month by plan. Guarantees: a cue is moved only from what
# the poll read; its next run, its executions and their outbox rows appear together; a scheduled time fires at most
# once. A cue that another daemon is moving is passed over. "Is one running?" is asked where the row is made. An account
# whose month is spent has executions that end at once. (`status || ''`: found by cue, not by an index of the status.)
FIRE_DUE = """
with turns as (
    select * from json_to_recordset($1::json)
        as t(cue text, seen timestamptz, revision bigint, next timestamptz, late bool)
), firings as (
    select * from json_to_recordset($2::json)
        as f(id uuid, cue text, scheduled_for timestamptz, missed_runs int, missed bool)
), held as materialized (
    select c.id, c.user_id, c.name, c.transport, c.callback_host, c.payload, c.task, c.overlap, c.schedule_type,
           t.seen, t.next, t.late
      from cues c
      join turns t on t.cue = c.id
     where c.next_run = t.seen
       and c.revision = t.revision
       and c.status = 'active'
       and c.deleted_at is null
     order by c.id
       for no key update of c skip locked
), spent as materialized (
    select u.id
      from users u
     where u.id in (select user_id from held)
       and month_is_spent(u.id, coalesce(($3::jsonb ->> u.plan)::bigint, ($3::jsonb ->> 'self_hosted')::bigint))
), made as (
    insert into executions (id, cue_id, user_id, transport, triggered_by, scheduled_for, status, ready_at, payload,
                            task, missed_runs, finished_at, error_message)
    select f.id, h.id, h.user_id, h.transport, 'scheduled', f.scheduled_for,
           case when f.missed or busy.id is not null then 'missed'
                when s.id is not null then 'failed'
                else 'pending' end,
           f.scheduled_for, h.payload, h.task, f.missed_runs,
           case when f.missed or busy.id is not null or s.id is not null then now() end,
           case when f.missed then 'Missed while no daemon ran; catchup is none.'
                when busy.id is not null then format('Skipped: execution %s is still running.', busy.id)
                when s.id is not null then 'Monthly execution limit reached' end
      from firings f
      join held h on h.id = f.cue
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
        on conflict (cue_id, scheduled_for) where triggered_by = 'scheduled' do nothing
 returning id, cue_id, user_id, transport, status, ready_at, scheduled_for
), counts as (
    select cue_id, count(*) as made, count(*) filter (where status <> 'pending') as ended,
           count(*) filter (where status <> 'missed') as fired
      from made
     group by cue_id
), moved as (
    update cues c
       set next_run = h.next,
           status = case when h.schedule_type = 'once' and n.ended > 0 then 'failed' else c.status end,
           revision = c.revision + (case when h.schedule_type = 'once' and n.ended > 0 then 1 else 0 end),
           fired_count = c.fired_count + coalesce(n.made, 0),
           run_count = c.run_count + coalesce(n.ended, 0),
           last_run = case when n.fired > 0 then now() else c.last_run end
      from held h
      left join counts n on n.cue_id = h.id
     where c.id = h.id
), queued as (
    insert into outbox (execution_id, cue_id, user_id, host, ready_at)
    select m.id, m.cue_id, m.user_id, h.callback_host, m.ready_at
      from made m
      join held h on h.id = m.cue_id
     where m.transport = 'webhook' and m.status = 'pending'
), raised as (
    select raise_alert(h.user_id, 'missed_run', h.id, h.id,
                       (select m.id from made m where m.cue_id = h.id order by m.scheduled_for desc limit 1),
                       format('%s was due at %s and fired %s s late.', h.name, iso(h.seen),
                              round(extract(epoch from now() - h.seen))),
                       json_build_object('due_at', iso(h.seen))) as id
      from held h
     where h.late
     order by h.id
)
select (select count(*) from held) as held,
       (select count(id) from raised) + (select count(*) from spent) as alerts,
       count(*) filter (where status = 'pending') as fired,
       count(*) filter (where status = 'missed') as missed,
       array_agg(distinct user_id) filter (where transport = 'worker' and status = 'pending') as workers
  from made
"""


async def fire_due(db: Executor, due_cues: Iterable[DueCue], monthly: Mapping[str, int]) -> PollResult:
    """
    Fire what still stands as it was read.

    *monthly* is how many executions each plan has in a month.
    """
    moves, firings = [], []
    for due_cue in due_cues:
        plan = due_cue.firings
        moves.append(
            {
                "cue": due_cue.cue_id,
                "seen": due_cue.seen.isoformat(),
                "revision": due_cue.revision,
                "next": plan.next_run and plan.next_run.isoformat(),
                "late": due_cue.late,
            }
        )
        for firing, missed in [(plan.missed, True), *((firing, False) for firing in plan.fire)]:
            if firing is not None:
                firings.append(
                    {
                        "id": str(new_uuid7()),
                        "cue": due_cue.cue_id,
                        "scheduled_for": firing.scheduled_for.isoformat(),
                        "missed_runs": firing.missed_runs,
                        "missed": missed,
                    }
                )
    result = await db.fetch_one(
        FIRE_DUE, json.dumps(moves), json.dumps(firings), json.dumps(dict(monthly)), row=PollResult
    )
    assert result is not None
    return result


class NextDue(Row):
    """In how many seconds the next cue is due (null: none is), and PostgreSQL's clock."""

    next_due: float | None
    now: datetime


AHEAD = """
select extract(epoch from (select min(next_run) from cues where status = 'active')
                          - clock_timestamp())::float8 as next_due,
       clock_timestamp() as now
"""


async def ahead(db: Executor) -> NextDue:
    """When the next cue is due."""
    found = await db.fetch_one(AHEAD, row=NextDue)
    assert found is not None
    return found


class ReminderRow(Row):
    """In how many seconds something comes due; with a user where workers can claim it then."""

    due_in: float
    user_id: int | None


# Executions of workers also just after their time: it may be what the poll was woken for.
REMINDERS = """
select extract(epoch from ready_at - clock_timestamp())::float8 as due_in, null::bigint as user_id
  from (select distinct ready_at
          from outbox
         where claimed_by is null
           and ready_at > now()
           and ready_at <= now() + $1::float8 * interval '1 second'
         order by ready_at
         limit 1000) deliveries
 union all
select extract(epoch from ready_at - clock_timestamp())::float8, user_id
  from (select distinct ready_at, user_id
          from executions
         where transport = 'worker'
           and status in ('pending', 'retrying')
           and ready_at > now() - interval '1 second'
           and ready_at <= now() + $1::float8 * interval '1 second'
         order by ready_at
         limit 1000) work
"""


async def reminders(db: Executor, within: float) -> list[tuple[float, int | None]]:
    """
    In how many seconds what waits comes due, of what does *within* so many.

    Deliveries, and with the user what workers can claim then.
    """
    return [(row.due_in, row.user_id) for row in await db.fetch(REMINDERS, within, row=ReminderRow)]
