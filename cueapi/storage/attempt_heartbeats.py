"""Heartbeats of handlers: they move the deadline of their attempt, and tell how far it has come."""

from datetime import datetime
from typing import NamedTuple
from uuid import UUID

from cueapi.storage.database import Executor, Row
from cueapi.storage.statements import load


class AttemptHeartbeat(NamedTuple):
    """The parameters: the attempt, what its handler tells (None: as it stands), and seconds of lease and deadline."""

    execution: UUID
    attempt: int
    progress: float | None
    message: str | None
    lease: float
    deadline: float


class HeartbeatRow(Row):
    """
    What a heartbeat has led to.

    *is_over* where the execution has ended more than seven days ago, *is_withdrawn* where the account has passed to
    another since the attempt began; *is_cancelled* where the work is wanted no more.
    """

    user_id: int
    is_over: bool
    is_withdrawn: bool
    is_cancelled: bool
    is_written: bool
    outcome_deadline_at: datetime | None
    lease_until: datetime | None


HEARTBEAT = load("attempt_heartbeat", AttemptHeartbeat._fields)


async def beat(db: Executor, heartbeat: AttemptHeartbeat) -> HeartbeatRow | None:
    """Take a heartbeat; None where the execution is not there any more."""
    return await db.fetch_one(HEARTBEAT, *heartbeat, row=HeartbeatRow)
