"""Workers, and what each holds."""

from datetime import datetime
from uuid import UUID

from attrs import frozen

from cueapi.storage.database import Executor, Row

WORKERS = 200
"""How many workers, and how many executions that they hold, a page shows at most."""

HANDLERS = 12
"""How many handlers of a worker are named; of the others the number is."""


class ShownWorker(Row):
    """A worker, its first handlers and how many it has, and for how many seconds it has been silent."""

    worker_id: str
    handlers: list[str]
    handler_count: int
    last_heartbeat: datetime
    silent: float


SHOWN = """
select worker_id, handlers[1:$3::int] as handlers, cardinality(handlers) as handler_count, last_heartbeat,
       extract(epoch from now() - last_heartbeat)::float8 as silent
  from workers
 where user_id = $1
 order by last_heartbeat desc, worker_id desc
 limit $2::int
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
 order by e.claimed_by_worker, e.claimed_at, e.id
 limit $2::int
"""


@frozen
class WorkerOverview:
    """The workers of a user, the latest heartbeat first, and what they hold."""

    workers: list[ShownWorker]
    held: list[HeldExecution]


async def read(db: Executor, user: int) -> WorkerOverview:
    """Every worker of *user*, and what it holds."""
    # One more than is shown says that there are more.
    return WorkerOverview(
        await db.fetch(SHOWN, user, WORKERS + 1, HANDLERS, row=ShownWorker),
        await db.fetch(HELD, user, WORKERS + 1, row=HeldExecution),
    )
