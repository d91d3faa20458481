"""An execution as a line of a list."""

from datetime import datetime
from typing import LiteralString
from uuid import UUID


class LineColumns:
    """
    The columns of a line.

    *told* is what the last attempt came to in words; *is_reported* says that its outcome was reported, *is_awaited*
    that it may still be.
    """

    __slots__ = ()

    id: UUID
    cue_id: str
    cue_name: str
    status: str
    transport: str
    triggered_by: str
    attempts: int
    outcome_state: str | None
    is_reported: bool
    is_awaited: bool
    http_status: int | None
    duration_ms: int | None
    told: str | None
    claimed_by_worker: str | None
    scheduled_for: datetime
    last_attempt_at: datetime | None
    finished_at: datetime | None
    created_at: datetime


# Of an execution e, its cue c, and its last attempt a.
LINE: LiteralString = """
e.id, e.cue_id, c.name as cue_name,
case when e.status = 'retrying' and e.ready_at <= now() then 'retry_ready' else e.status end as status,
e.transport, e.triggered_by, e.attempts, e.outcome_state,
coalesce(e.outcome_attempt = e.attempts, false) as is_reported,
coalesce(e.outcome_deadline_at > now() and (e.outcome_attempt is null or e.outcome_attempt < e.attempts), false)
    as is_awaited,
e.http_status, a.duration_ms,
left(case when e.outcome_attempt = e.attempts
          then coalesce(nullif(e.summary, ''), e.outcome_result, e.outcome_error, e.error_message)
          else e.error_message end, 200) as told,
e.claimed_by_worker, e.scheduled_for, e.last_attempt_at, e.finished_at, e.created_at
"""

JOINED: LiteralString = """
  join cues c on c.id = e.cue_id and c.deleted_at is null
  left join attempts a on a.execution_id = e.id and a.attempt = e.attempts
"""
