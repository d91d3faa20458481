"""Workers, and what each holds."""

from datetime import datetime
from uuid import UUID

from attrs import frozen

from cueapi.storage.database import Executor, Row

WORKERS = 200
"""How many workers, and how many executions that they hold, a page shows at most."""


class WorkerLine(Row):
    """A worker, and for how many seconds it has been silent."""

    worker_id: str
    handlers: list[str]
    registered_since: datetime
    last_heartbeat: datetime
    silent: float


WORKER_LINES = """
select worker_id, handlers, registered_since, last_heartbeat,
       extract(epoch from now() - last_heartbeat)::float8 as silent
  from workers
 where user_id = $1
 order by last_heartbeat desc, worker_id
 limit 201
"""


class HeldExecution(Row):
    """An execution that a worker holds, and for how many seconds it has."""

    worker_id: str
    id: UUID
    cue_id: str
    cue_name: str
    attempts: int
    held_for: float | None


# By the index of what a user's workers hold.
HELD = """
select e.claimed_by_worker as worker_id, e.id, e.cue_id, c.name as cue_name, e.attempts,
       extract(epoch from now() - e.claimed_at)::float8 as held_for
  from executions e
  join cues c on c.id = e.cue_id
 where e.user_id = $1
   and e.transport = 'worker'
   and e.status = 'delivering'
   and e.claimed_by_worker is not null
 order by e.claimed_by_worker, e.claimed_at
 limit 201
"""


@frozen
class WorkerOverview:
    """The workers of a user, the latest heartbeat first, and what they hold."""

    workers: list[WorkerLine]
    held: list[HeldExecution]


async def read(db: Executor, user: int) -> WorkerOverview:
    """Every worker of *user*, and what it holds."""
    return WorkerOverview(
        await db.fetch(WORKER_LINES, user, row=WorkerLine), await db.fetch(HELD, user, row=HeldExecution)
    )
