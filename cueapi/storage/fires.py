"""Executions that a user asks for: fired now, or at a time, or replayed."""

from datetime import datetime
from typing import NamedTuple
from uuid import UUID

from attrs import frozen

from cueapi.storage.database import Executor, Row
from cueapi.storage.statements import load


class FiredExecution(Row):
    """
    An execution that a user asked for, in how many seconds it may begin, and the types of the alerts raised by it.

    Its columns are null where none was made: the cue is not *known*, its account is held, or a budget is reached.
    """

    id: UUID
    cue_id: str
    transport: str
    scheduled_for: datetime
    status: str
    due_in: float
    alerts: list[str]
    known: bool
    hold_mode: str | None
    hold_reason: str | None
    hold_until: datetime | None
    budget_reached: str | None
    budget_ends: datetime | None


class CueFire(NamedTuple):
    """The parameters of a fire."""

    cue_id: str
    user: int
    execution_id: UUID
    payload: str | None
    task: str | None
    at: datetime | None
    triggered_by: str
    replayed_from: UUID | None
    forced: bool
    monthly: int


FIRE = load("fire_cue", CueFire._fields)


@frozen
class ManualFire:
    """
    An execution that a user asks for: its payload, its time (None: now), what it repeats.

    No payload: that of what it repeats, else the cue's. That of a *backfill* is for a time of the past. *forced*: also
    while the account is held.
    """

    execution_id: UUID
    payload: str | None = None
    task: str | None = None
    at: datetime | None = None
    replayed_from: UUID | None = None
    forced: bool = False
    backfill: bool = False

    @property
    def triggered_by(self) -> str:
        """How it was made."""
        if self.backfill:
            return "backfill"
        return "manual_fire" if self.replayed_from is None else "replay"


async def fire(db: Executor, *, cue_id: str, user: int, manual_fire: ManualFire, monthly: int) -> FiredExecution:
    """What became of it. *monthly* is how many executions a month has."""
    parameters = CueFire(
        cue_id=cue_id,
        user=user,
        execution_id=manual_fire.execution_id,
        payload=manual_fire.payload,
        task=manual_fire.task,
        at=manual_fire.at,
        triggered_by=manual_fire.triggered_by,
        replayed_from=manual_fire.replayed_from,
        forced=manual_fire.forced,
        monthly=monthly,
    )
    row = await db.fetch_one(FIRE, *parameters, row=FiredExecution)
    assert row is not None
    return row


class ReplayableExecution(Row):
    """What a replay takes from the execution that it repeats; *payload* is JSON."""

    cue_id: str
    status: str
    payload: str
    task: str | None


REPLAYABLE = """
select e.cue_id, e.status, e.payload, e.task
  from executions e
  join cues c on c.id = e.cue_id and c.deleted_at is null
 where e.id = $1
   and e.user_id = $2
"""


async def replayable(db: Executor, *, execution: UUID, user: int) -> ReplayableExecution | None:
    """The execution that a replay repeats; None where it is not this user's, or its cue is deleted."""
    return await db.fetch_one(REPLAYABLE, execution, user, row=ReplayableExecution)
