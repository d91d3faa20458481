"""Pull workers: who they are, what they can do, and when they were last heard of."""

from datetime import datetime

from cueapi.storage.database import Executor, Row, fetch_value

# A heartbeat without handlers is one of a worker that can do anything.
HEARTBEAT = """
insert into workers (user_id, worker_id, handlers) values ($1, $2, coalesce($3::text[], '{}'))
    on conflict (user_id, worker_id) do update
   set handlers = excluded.handlers, last_heartbeat = now()
returning now() as now
"""


async def heartbeat(db: Executor, *, user: int, worker: str, handlers: list[str] | None) -> datetime:
    """Note that the worker lives, and what it can do; the moment of it."""
    moment = await fetch_value(db, HEARTBEAT, user, worker, handlers, kind=datetime)
    assert moment is not None
    return moment


# Work waits that no live worker does, and one that would has been silent for 5 minutes: told once an hour and worker.
# Of a long queue the oldest are looked at.
ALERT_OFFLINE = """
with silent as (
    select user_id, worker_id, handlers, last_heartbeat
      from workers
     where last_heartbeat < now() - interval '5 minutes'
       and (offline_alerted_at is null or offline_alerted_at < now() - interval '1 hour')
), kinds as (
    -- Many have one name each and the same handlers.
    select distinct user_id, handlers from silent
), wanted as (
    select s.user_id, s.handlers
      from kinds s
     where exists (
           select from (select e.user_id, e.task, e.cue_id
                          from executions e
                         where e.user_id = s.user_id
                           and e.transport = 'worker'
                           and e.status in ('pending', 'retrying')
                           and e.ready_at <= now()
                         order by e.ready_at, e.id
                         limit 1000) e
             join cues c on c.id = e.cue_id and c.deleted_at is null
            where (s.handlers = '{}' or e.task = any (s.handlers) or c.name = any (s.handlers))
              and not exists (
                  select from workers l
                   where l.user_id = e.user_id
                     and l.last_heartbeat > now() - interval '180 seconds'
                     and (l.handlers = '{}' or e.task = any (l.handlers) or c.name = any (l.handlers))))
), marked as (
    update workers w
       set offline_alerted_at = now()
      from silent s
      join wanted using (user_id, handlers)
     where w.user_id = s.user_id
       and w.worker_id = s.worker_id
       and (w.offline_alerted_at is null or w.offline_alerted_at < now() - interval '1 hour')
 returning w.user_id, w.worker_id, w.last_heartbeat
)
select count(raise_alert(user_id, 'worker_offline', worker_id, null, null,
                         format('Worker %s has been silent since %s, and work waits for it.',
                                worker_id, iso(last_heartbeat)),
                         json_build_object('worker_id', worker_id, 'last_heartbeat', iso(last_heartbeat)))) as alerts
  from (select * from marked order by user_id, worker_id) m
"""


async def alert_offline(db: Executor) -> int:
    """Raise an alert for each worker that is missed; how many."""
    return await fetch_value(db, ALERT_OFFLINE, kind=int) or 0


class WorkerRow(Row):
    """A worker, and for how many seconds it has been silent."""

    worker_id: str
    handlers: list[str]
    registered_since: datetime
    last_heartbeat: datetime
    silent: float


EVERY = """
select worker_id, handlers, registered_since, last_heartbeat,
       extract(epoch from now() - last_heartbeat)::float8 as silent
  from workers
 where user_id = $1
 order by last_heartbeat desc, worker_id
"""


async def every(db: Executor, user: int) -> list[WorkerRow]:
    """The user's workers, the latest heard of first."""
    return await db.fetch(EVERY, user, row=WorkerRow)


FORGET = "delete from workers where user_id = $1 and worker_id = $2"


async def forget(db: Executor, *, user: int, worker: str) -> bool:
    """Remove a worker; False where there is none of that name."""
    return await db.execute(FORGET, user, worker) > 0
