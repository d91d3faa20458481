"""Pull workers: who they are, what they can do, and when they were last heard of."""

from datetime import datetime

from cueapi.storage.postgres import Queries, Row

# A heartbeat without handlers is one of a worker that can do anything.
HEARTBEAT = """
insert into workers (user_id, worker_id, handlers) values ($1, $2, coalesce($3::text[], '{}'))
    on conflict (user_id, worker_id) do update
   set handlers = excluded.handlers, last_heartbeat = now(), offline_alerted_at = null
returning now() as now
"""


async def heartbeat(tx: Queries, *, user: int, worker: str, handlers: list[str] | None) -> datetime:
    """Note that the worker lives, and what it can do; the moment of it."""
    row = await tx.fetch_one(HEARTBEAT, user, worker, handlers)
    assert row is not None
    moment: datetime = row["now"]
    return moment


EVERY = """
select worker_id, handlers, registered_since, last_heartbeat,
       extract(epoch from now() - last_heartbeat)::float8 as silent
  from workers
 where user_id = $1
 order by last_heartbeat desc, worker_id
"""


async def every(tx: Queries, user: int) -> list[Row]:
    """The user's workers, the latest heard of first."""
    return await tx.fetch(EVERY, user)


FORGET = "delete from workers where user_id = $1 and worker_id = $2"


async def forget(tx: Queries, *, user: int, worker: str) -> bool:
    """Remove a worker; False where there is none of that name."""
    return await tx.execute(FORGET, user, worker) > 0
