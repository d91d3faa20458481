"""How much waits: counted up to 10,000 each, so that it stays cheap on a table of millions."""

from cueapi.storage.database import Executor, Row
from cueapi.storage.statements import load

PING = "select 1"


class QueueCounts(Row):
    """
    How much waits, by kind, and for how many seconds the oldest of it has been due.

    Also how many workers are alive, and how many incidents are open.
    """

    pending_outbox: int
    waiting_for_target: int
    open_targets: int
    half_open_targets: int
    closed_targets: int
    ready_deliveries: int
    stale_executions: int
    pending_retries: int
    pending_worker_claims: int
    oldest_delivery: float
    oldest_work: float
    active_workers: int
    open_incidents: int


COUNTS = load("queue_counts")


async def ping(db: Executor) -> None:
    """Raises StorageUnavailable where PostgreSQL is away."""
    await db.execute(PING)


async def counts(db: Executor) -> QueueCounts | None:
    """What waits in the queues."""
    return await db.fetch_one(COUNTS, row=QueueCounts)
