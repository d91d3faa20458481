"""Workers, and what each holds."""

from uuid import UUID

from attrs import frozen

from cueapi.storage import workers
from cueapi.storage.database import Executor, Row
from cueapi.storage.workers import WorkerRow

WORKERS = 200
"""How many workers, and how many executions that they hold, a page shows at most."""


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

    workers: list[WorkerRow]
    held: list[HeldExecution]


async def read(db: Executor, user: int) -> WorkerOverview:
    """Every worker of *user*, and what it holds."""
    # One more than is shown says that there are more.
    return WorkerOverview(
        await workers.every(db, user, most=WORKERS + 1),
        await db.fetch(HELD, user, WORKERS + 1, row=HeldExecution),
    )
