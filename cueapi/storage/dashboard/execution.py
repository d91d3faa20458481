"""The page of one execution: itself, its attempts, and what it is related to."""

from datetime import datetime
from typing import NamedTuple
from uuid import UUID

from attrs import frozen

from cueapi.storage import executions
from cueapi.storage.database import Executor, Row, fetch_value
from cueapi.storage.executions import COLUMNS, AttemptRow, ExecutionRow
from cueapi.storage.statements import load


class ShownExecution(ExecutionRow):
    """
    An execution as its page shows it, and what its cue says of deliveries and failures.

    *payload* is JSON, at most the first 64 KiB of *payload_length* characters; *callback_headers* are encrypted.
    """

    payload: str
    payload_length: int
    task: str | None
    ready_at: datetime
    finished_at: datetime | None
    lease_until: datetime | None
    lost_claims: int
    replayed_from: UUID | None
    is_reported: bool
    is_awaited: bool
    cue_status: str
    cron: str | None
    timezone: str
    callback_url: str | None
    callback_method: str
    callback_host: str | None
    callback_headers: bytes | None
    max_attempts: int
    backoff_minutes: list[int]
    verification: str
    on_failure_email: bool
    on_failure_webhook: str | None
    now: datetime


class Asked(NamedTuple):
    """The parameters: which execution, and whose it must be."""

    execution: UUID
    user: int


SHOWN = load("shown_execution", Asked._fields, execution=COLUMNS)


class RelatedRow(Row):
    """An earlier execution that this one repeats, a replay of it, or an alert, whose type is its *status*."""

    kind: str
    id: UUID
    status: str
    created_at: datetime
    told: str | None


RELATED = load("related_to_execution", Asked._fields)


@frozen
class ExecutionDetails:
    """What the page shows."""

    execution: ShownExecution
    attempts: list[AttemptRow]
    related: list[RelatedRow]


async def read(db: Executor, *, execution: UUID, user: int) -> ExecutionDetails | None:
    """One execution with all that its page shows; None where it is not this user's, or its cue is deleted."""
    asked = Asked(execution, user)
    row = await db.fetch_one(SHOWN, *asked, row=ShownExecution)
    if row is None:
        return None
    attempts = await executions.attempts(db, execution)
    return ExecutionDetails(row, attempts, await db.fetch(RELATED, *asked, row=RelatedRow))


PAYLOAD = """
select e.payload::text
  from executions e
  join cues c on c.id = e.cue_id and c.deleted_at is null
 where e.id = $1
   and e.user_id = $2
"""


async def payload(db: Executor, *, execution: UUID, user: int) -> str | None:
    """The whole payload as JSON; None where there is no such execution."""
    return await fetch_value(db, PAYLOAD, execution, user, kind=str)
