"""Pull workers: their names, what they can do, and their last heartbeats."""

from datetime import datetime

from cueapi.storage.database import Executor, Row, fetch_value
from cueapi.storage.statements import load

# A heartbeat without handlers is one of a worker that can do anything.
HEARTBEAT = """
insert into workers (user_id, worker_id, handlers) values ($1, $2, coalesce($3::text[], '{}'))
    on conflict (user_id, worker_id) do update
   set handlers = excluded.handlers, last_heartbeat = now()
returning now() as now
"""


async def heartbeat(db: Executor, *, user: int, worker: str, handlers: list[str] | None) -> datetime:
    """Store a heartbeat, and what the worker can do; the moment of it."""
    moment = await fetch_value(db, HEARTBEAT, user, worker, handlers, kind=datetime)
    assert moment is not None
    return moment


ALERT_OFFLINE = load("alert_offline_workers")


class OfflineAlerts(Row):
    """How many alerts about silent workers were raised, and whose."""

    alerts: int
    users: list[int] | None


async def alert_offline(db: Executor) -> OfflineAlerts:
    """Raise an alert for each silent worker that work waits for."""
    raised = await db.fetch_one(ALERT_OFFLINE, row=OfflineAlerts)
    assert raised is not None
    return raised


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
 limit $2::int
"""


async def every(db: Executor, user: int, *, most: int | None = None) -> list[WorkerRow]:
    """The user's workers, the latest heartbeat first; *most* of them, None: all."""
    return await db.fetch(EVERY, user, most, row=WorkerRow)


FORGET = "delete from workers where user_id = $1 and worker_id = $2"


async def forget(db: Executor, *, user: int, worker: str) -> bool:
    """Forget a worker; False where no worker has that name."""
    return await db.execute(FORGET, user, worker) > 0
