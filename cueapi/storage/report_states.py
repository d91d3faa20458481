"""Executions as those find them who hold the token of an attempt and no key."""

from datetime import datetime
from uuid import UUID

from cueapi.storage.database import Executor
from cueapi.storage.executions import StateRow


class ReportedRow(StateRow):
    """
    An execution, and what its handler is told of it.

    *is_gone* where its cue was deleted, *is_over* where it has ended more than seven days ago, *is_withdrawn* where the
    account has passed to another since the attempt began.
    """

    cue_name: str
    shown_status: str
    outcome_state: str | None
    outcome_deadline_at: datetime | None
    is_gone: bool
    is_over: bool
    is_withdrawn: bool


# $2 the attempt that the report is about: what it took counts from its own start.
REPORTED = """
select s.id, s.user_id, s.claim, s.attempts, s.status, s.outcome_attempt, s.reported_attempt,
       s.counted, s.transport, s.claimed_by_worker, s.ready_at,
       s.lost_claims, s.max_attempts, s.backoff_minutes, s.verification, s.assertions, s.verification_on_failed,
       coalesce((select (extract(epoch from now() - a.started_at) * 1000)::bigint
                   from attempts a
                  where a.execution_id = s.id and a.attempt = $2 and a.attempt < s.attempts),
                s.elapsed_ms) as elapsed_ms,
       s.cue_name, s.outcome_state, s.outcome_deadline_at,
       case when s.status = 'retrying' and s.ready_at <= now() then 'retry_ready' else s.status end as shown_status,
       s.deleted_at is not null as is_gone,
       s.finished_at is not null
           and greatest(s.finished_at, s.outcome_deadline_at) < now() - interval '7 days' as is_over,
       is_withdrawn(s.user_id, s.id, $2, s.last_attempt_at) as is_withdrawn
  from execution_states s
 where s.id = $1
"""


async def reported(db: Executor, execution: UUID, *, attempt: int) -> ReportedRow | None:
    """The execution, for a report on that attempt; None where there is no such any more."""
    return await db.fetch_one(REPORTED, execution, attempt, row=ReportedRow)
