"""Pull workers: their names, what they can do, and their last heartbeats."""

from datetime import datetime

from cueapi.storage.database import Executor, Row, fetch_value
from cueapi.storage.keyset import KeysetPage
from cueapi.storage.statements import load

MOST_WORKERS = 1_000
"""Of an account."""

# A heartbeat without handlers is one of a worker that can do anything. A name that is known is written at once; only
# where it is new is it asked whether there is room.
HEARTBEAT = """
with known as (
    update workers set handlers = coalesce($3::text[], '{}'), last_heartbeat = now()
     where user_id = $1 and worker_id = $2
 returning worker_id
), made as (
    insert into workers (user_id, worker_id, handlers)
    select $1::bigint, $2::text, coalesce($3::text[], '{}')
     where case when exists (select from known) then false else has_worker_room($1, $2) end
        on conflict (user_id, worker_id) do update
       set handlers = excluded.handlers, last_heartbeat = now()
 returning worker_id
)
select now() as now from (select from known union all select from made) w
"""


async def heartbeat(db: Executor, *, user: int, worker: str, handlers: list[str] | None) -> datetime | None:
    """Store a heartbeat, and what the worker can do; its moment, or None where the account has no room for one more."""
    return await fetch_value(db, HEARTBEAT, user, worker, handlers, kind=datetime)


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


# $2 and $3 the last one of the page before, or null.
PAGE = """
select worker_id, handlers, registered_since, last_heartbeat,
       extract(epoch from now() - last_heartbeat)::float8 as silent
  from workers
 where user_id = $1
   and ($2::timestamptz is null or (last_heartbeat, worker_id) < ($2::timestamptz, $3::text))
 order by last_heartbeat desc, worker_id desc
 limit $4::int
"""


async def page(
    db: Executor, user: int, *, behind: tuple[datetime, str] | None = None, limit: int
) -> KeysetPage[WorkerRow]:
    """The user's workers, the latest heartbeat first; those *behind* the last one of the page before."""
    rows = await db.fetch(PAGE, user, *(behind or (None, None)), limit + 1, row=WorkerRow)
    return KeysetPage(rows[:limit], len(rows) > limit)


FORGET = "delete from workers where user_id = $1 and worker_id = $2"


async def forget(db: Executor, *, user: int, worker: str) -> bool:
    """Forget a worker; False where no worker has that name."""
    return await db.execute(FORGET, user, worker) > 0
